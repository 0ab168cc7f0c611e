"""Statistics: quantile normalisation, hypervolume over time, ranks, intervals and comparisons of entries.

May import: the engine, ``reading``.
"""
