"""Training strategies, losses, the trainer, and the evaluation of a sub-network on a split.

May import: ``errors``, ``arrays``, ``declarations``, ``data``, ``networks``.
"""
