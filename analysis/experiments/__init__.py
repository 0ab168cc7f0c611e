"""The runs behind the paper's figures: their definitions, their selection from results, and which of them are missing.

May import: the engine, ``reading``, ``scoring``.
"""
