"""Networks that are no sub-networks: some of their projections are products of two matrices of low rank.

A structure declares the rank of every projection. It is all that is needed to count such a network, to build it and to
check that a module is what it is declared to be.

May import: ``networks.subnetwork``, ``networks.blocks``, ``networks.adapter``, ``networks.supernet``.
"""
