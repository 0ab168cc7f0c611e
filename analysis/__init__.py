"""From a folder of runs to tables, figures, the report and the leaderboard.

May import: the engine except ``testing`` and ``cli``.
"""

if __name__ != "nasbench.analysis":
    raise ImportError("import nasbench.analysis, not the bare folder: it would make a second registry")
