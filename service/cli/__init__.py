"""The `tastestream` command: one module for each group of commands.

Slow imports (Redis, the gateway, numpy, torch) are inside the commands that need them: `--help` and all other commands
start fast.
"""
