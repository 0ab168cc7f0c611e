"""The suite's own figures, the parts that several figures share, and the catalogue of all figures.

May import: the engine, ``reading``, ``scoring``, ``experiments``.
"""
