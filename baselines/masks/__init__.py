"""Calibration of pruning baselines: what only they share. The masks themselves are in :mod:`nasbench.masks`.

May import: the engine.
"""
