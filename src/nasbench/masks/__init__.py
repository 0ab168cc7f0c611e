"""Masks over heads and units: their importance, the search for masks, and the tuning of mask values.

May import: ``errors``, ``arrays``, ``declarations``, ``data``, ``networks``, ``training``.
"""
