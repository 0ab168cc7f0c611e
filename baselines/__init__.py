"""Structural pruning baselines, one file each. A leaf imports the engine only."""

if __name__ != "nasbench.baselines":
    raise ImportError("import nasbench.baselines, not the bare folder: it would make a second registry")
