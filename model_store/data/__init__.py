"""Datasets: text files of any encoding, tables, and the layouts of well-known data sets."""
