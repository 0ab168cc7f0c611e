"""The paper's figures, one file each: ``data`` computes a table, ``draw`` draws the table.

May import: the engine, ``reading``, ``scoring``, ``experiments``, the shared modules of ``figures``.
"""
