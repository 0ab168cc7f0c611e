"""What a search minimises: the declared objectives, and the costs of sub-networks that are known before an evaluation.

May import: ``errors``, ``arrays``, ``declarations``, ``data``, ``networks``.
"""
