"""The `tastestream` command: one module for each group of commands."""
