"""Passes for devices on which launching a kernel costs more than the arithmetic that slices save.

May import: ``networks.adapter``, ``networks.attention``, ``networks.blocks``, ``networks.sliced``,
``networks.subnetwork``, ``networks.supernet``, ``data``.
"""
