"""Many runs: the plan of a sweep, and the backends that carry it out on one machine or on a Ray cluster.

Each run has a process of its own and is an ordinary run: its record says nothing of the sweep. The module ``jobs``
plans, ``driver`` keeps the queue, ``local`` and ``cluster`` start processes and Ray tasks, ``worker`` is what runs
inside them, ``mirror`` keeps a run's files at a URL. Ray is optional: only a sweep that uses it imports it.

May import: ``isolation``, ``runs``, ``plugins``, ``records``, ``networks``, ``search``, ``declarations`` and
``errors``.
"""
