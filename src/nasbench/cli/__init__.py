"""The command line: thin commands, views of a run on the terminal, listings.

May import: the whole engine, and the analysis.
"""
