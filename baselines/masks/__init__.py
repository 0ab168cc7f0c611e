"""Masks for pruning baselines: importance of heads and units, search for masks, and tuning of mask values.

May import: the engine.
"""
