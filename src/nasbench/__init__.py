"""nasbench: structural pruning of pre-trained language models by multi-objective neural architecture search.

Everything a notebook or a plugin needs is here, and is imported when it is first used: ``run``, ``sweep``, ``Run``,
``results``, ``load``; ``tasks``, ``models``, ``methods``, ``searchers``; and the classes to build on: ``Method``,
``Problem``, ``Searcher``, ``MultiFidelitySearcher``, ``Decision``, ``SearchSpace``, ``SuperNetwork``, ``Task``,
``Model``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasbench.api import (  # not methods: the package of that name
        Run,
        load,
        models,
        results,
        run,
        searchers,
        sweep,
        tasks,
    )
    from nasbench.arrays import BoolArray, FloatArray, IntArray
    from nasbench.declarations.model import Model, TrainingConfiguration
    from nasbench.declarations.task import DataSource, Task
    from nasbench.errors import BudgetExhausted, UserError
    from nasbench.networks.space import Config, SearchSpace
    from nasbench.networks.subnetwork import SubNetwork
    from nasbench.networks.supernet import SuperNetwork
    from nasbench.plugins.method import Method
    from nasbench.records.record import Evaluation
    from nasbench.runs.problem import Problem
    from nasbench.search.searcher import Decision, MultiFidelitySearcher, Searcher
    from nasbench.training.strategies import TrainingStrategy

__version__ = "0.4.0"

_PLACES = {
    "nasbench.api": ("Run", "load", "methods", "models", "results", "run", "searchers", "sweep", "tasks"),
    "nasbench.arrays": ("BoolArray", "FloatArray", "IntArray"),
    "nasbench.declarations.model": ("Model", "TrainingConfiguration"),
    "nasbench.declarations.task": ("DataSource", "Task"),
    "nasbench.errors": ("BudgetExhausted", "UserError"),
    "nasbench.networks.space": ("Config", "SearchSpace"),
    "nasbench.networks.subnetwork": ("SubNetwork",),
    "nasbench.networks.supernet": ("SuperNetwork",),
    "nasbench.plugins.method": ("Method",),
    "nasbench.records.record": ("Evaluation",),
    "nasbench.runs.problem": ("Problem",),
    "nasbench.search.searcher": ("Decision", "MultiFidelitySearcher", "Searcher"),
    "nasbench.training.strategies": ("TrainingStrategy",),
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}

__all__ = [
    "BoolArray",
    "BudgetExhausted",
    "Config",
    "DataSource",
    "Decision",
    "Evaluation",
    "FloatArray",
    "IntArray",
    "Method",
    "Model",
    "MultiFidelitySearcher",
    "Problem",
    "Run",
    "SearchSpace",
    "Searcher",
    "SubNetwork",
    "SuperNetwork",
    "Task",
    "TrainingConfiguration",
    "TrainingStrategy",
    "UserError",
    "__version__",
    "load",
    "methods",
    "models",
    "results",
    "run",
    "searchers",
    "sweep",
    "tasks",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACE_OF:
        raise AttributeError(f"module 'nasbench' has no attribute {name!r}")
    if name == "methods":  # the package of methods, which answers a call with the list of methods
        return importlib.import_module("nasbench.methods")
    return getattr(importlib.import_module(_PLACE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
