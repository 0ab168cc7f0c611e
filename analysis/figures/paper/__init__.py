"""The paper's figures, one file each: ``data`` computes a table and ``draw`` draws it.

May import: the engine, ``reading``, ``scoring``, ``experiments``, the shared modules of ``figures``.
"""
