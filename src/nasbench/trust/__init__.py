"""Results from strangers: the checks of a record, the bundles in which records travel, and the marks that they earn.

May import: every other package of the engine except ``testing`` and ``cli``.
"""
