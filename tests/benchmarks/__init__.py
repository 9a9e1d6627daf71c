"""Benchmarks of speed and size: `python -m tests.benchmarks.<name> --help`. Nothing is asserted here.

Every command starts its own Redis and its own processes, ends them, and prints what it measured. Machines drift:
what is to be compared is measured in turns, in one run, and given as a ratio.
"""
