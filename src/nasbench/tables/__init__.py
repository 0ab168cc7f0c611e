"""The tabular benchmark: every network of a grid measured once, and runs of searchers on the recorded values.

May import: every other package of the engine except ``testing`` and ``cli``.
"""
