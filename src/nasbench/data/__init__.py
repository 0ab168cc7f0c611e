"""The path from the rows of a data set to padded batches: sources, tokens, splits, batching; and access to the hub.

May import: ``errors``, ``arrays``, ``declarations``.
"""
