"""Sub-networks, search spaces, pre-trained weights, and the super-network that runs a sub-network.

May import: ``errors``, ``arrays``, ``declarations``, ``data``.
"""
