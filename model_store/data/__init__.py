"""Data as people have it: text files of any encoding, tables, and the layouts of well-known data sets."""
