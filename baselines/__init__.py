"""Structural pruning baselines, one module each.

May import: the engine except ``testing`` and ``cli``; not other baselines.
"""

if __name__ != "nasbench.baselines":
    raise ImportError("import nasbench.baselines, not the bare folder: it would make a second registry")
