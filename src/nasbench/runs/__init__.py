"""One run: its request, its budget, the problem that a method sees, the harness behind it, the runner, the export.

May import: every other package of the engine except ``tables``, ``testing`` and ``cli``.
"""
