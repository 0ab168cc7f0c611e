"""The classes of networks whose layers differ in heads and units. ``nasbench export`` copies a file of these.

So each file stands alone. May import: transformers, torch; nothing of nasbench.
"""
