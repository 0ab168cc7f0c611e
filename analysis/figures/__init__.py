"""The suite's own figures, modules that several figures share, and the catalogue of all figures.

May import: the engine, ``reading``, ``scoring``, ``experiments``.
"""
