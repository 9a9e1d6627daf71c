"""What is in a dataset, in numbers: the figures of `tastestream data check`."""
