"""The `tastestream` command: one module for each group of commands.

What is slow to import (Redis, the gateway, numpy, torch) is imported by the commands that need it, so that `--help` and
all other commands start fast.
"""
