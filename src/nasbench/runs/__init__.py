"""One run: its request, its budget, the problem that a method sees, the harness behind it, the runner.

May import: every other package of the engine except ``export``, ``tables``, ``testing`` and ``cli``.
"""
