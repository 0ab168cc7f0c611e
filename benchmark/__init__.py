"""What is benchmarked: tasks, models, budgets, frozen quantiles. Declarations only."""

if __name__ != "nasbench.benchmark":
    raise ImportError("import nasbench.benchmark, not the bare folder: it would make a second registry")

from .models import MODELS
from .tasks import TASKS

__all__ = ["MODELS", "TASKS"]
