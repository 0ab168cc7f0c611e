"""Masks for pruning baselines: the importance of heads and units, the search for masks, scales that repair a network.

May import: the engine.
"""
