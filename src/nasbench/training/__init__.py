"""Training strategies, losses, the trainer, metrics, and the evaluation of sub-networks on a split.

May import: ``errors``, ``arrays``, ``declarations``, ``data``, ``networks``.
"""
