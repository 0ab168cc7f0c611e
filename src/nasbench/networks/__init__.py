"""Sub-networks, search spaces, pre-trained networks, and the super-network that runs sub-networks.

May import: ``errors``, ``arrays``, ``declarations``, ``data``.
"""
