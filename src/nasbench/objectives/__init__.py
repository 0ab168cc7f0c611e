"""What a search minimises: the declared objectives, and the costs of sub-networks that are known before an evaluation:
counted ones, and those whose models are fitted to measured networks.

May import: ``errors``, ``arrays``, ``declarations``, ``data``, ``networks``.
"""
