"""Pruned networks as folders that transformers loads: saving, loading, the model card, predictions.

May import: every other package of the engine except ``testing`` and ``cli``.
"""
