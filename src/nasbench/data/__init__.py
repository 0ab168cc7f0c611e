"""From the rows of a data set to padded batches: sources, tokens, splits, batching.

May import: ``errors``, ``arrays``, ``declarations``.
"""
