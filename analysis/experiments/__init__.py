"""The runs behind the paper's figures: their definitions, their selection from results, and the missing runs.

May import: the engine, ``reading``, ``scoring``.
"""
