"""From a folder of runs to tables, figures, report and leaderboard."""

if __name__ != "nasbench.analysis":
    raise ImportError("import nasbench.analysis, not the bare folder: it would make a second registry")
