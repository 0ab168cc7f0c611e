"""What is benchmarked: tasks, models, budgets, frozen quantiles. Declarations only."""

from nasbench.task import Model, Task

if __name__ != "nasbench.benchmark":
    raise ImportError("import nasbench.benchmark, not the bare folder: it would make a second registry")

TASKS: tuple[Task, ...] = ()
MODELS: tuple[Model, ...] = ()
