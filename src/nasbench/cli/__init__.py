"""The command line: thin commands, views of a run on the terminal, lists of tasks, models, methods and searchers.

May import: every package of the engine, and the leaves.
"""
