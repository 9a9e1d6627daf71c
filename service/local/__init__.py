"""The whole of Tastestream on one machine: what `tastestream up` starts, watches and stops."""
