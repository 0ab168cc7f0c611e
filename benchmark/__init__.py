"""Declarations of the benchmark: tasks, models, budgets, frozen quantiles; the embedded task and its small BERT.

May import: the engine. Importing this package must not load torch, transformers or pandas.
"""

if __name__ != "nasbench.benchmark":
    raise ImportError("import nasbench.benchmark, not the bare folder: it would make a second registry")

from .models import MODELS
from .sections import SECTIONS
from .tasks import PAPER_TASKS, TASKS

__all__ = ["MODELS", "PAPER_TASKS", "SECTIONS", "TASKS"]
