"""Declarations of what is benchmarked: tasks, data sources and pre-trained networks.

A declaration is frozen data and is never edited. A change gets a new name, so that records with the same name stay
comparable.

May import: the standard library.
"""
