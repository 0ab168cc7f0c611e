"""Statistics: quantile normalisation, hypervolume over time, ranks, intervals, comparisons.

May import: the engine, ``reading``.
"""
