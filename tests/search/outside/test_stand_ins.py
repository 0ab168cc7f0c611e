"""Optimisers of libraries that may be missing here: stand-in modules take their place, or nothing does."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest

from nasbench.errors import UserError
from nasbench.search import outside
from nasbench.testing.analytic import PROBLEMS

PROBLEM = PROBLEMS["smooth"]
SCHEDULERS = "syne_tune.optimizer.schedulers"
SYNE_TUNE = {  # what syne-tune 0.16.0 has: module and class by the name of the searcher
    "RandomSearch": (f"{SCHEDULERS}.searchers.random_searcher", "MultiObjectiveRandomSearcher"),
    "MOREA": (f"{SCHEDULERS}.multiobjective.multi_objective_regularized_evolution",
              "MultiObjectiveRegularizedEvolution"),
    "REA": (f"{SCHEDULERS}.searchers.regularized_evolution", "RegularizedEvolution"),
    "TPE": (f"{SCHEDULERS}.searchers.kde", "KernelDensityEstimator"),
    "BORE": (f"{SCHEDULERS}.searchers.bore", "Bore"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_modules() -> Iterator[None]:
    """Whatever a test imports or removes is as before afterwards."""
    with mock.patch.dict(sys.modules):
        yield


def forget(*packages: str) -> None:
    """Let the adapters and these packages be imported again."""
    for name in [*sys.modules]:
        if name in outside.LIBRARIES.values() or name.partition(".")[0] in packages:
            del sys.modules[name]


class StandIn:
    """A searcher with the interface of Syne Tune's: it draws at random and remembers what it is told."""

    def __init__(self, domain: dict[str, tuple[int, int]], random_seed: int, multiobjective_priority: Any = None):
        self.domain, self.priority = domain, multiobjective_priority
        self.points_to_evaluate: list[dict[str, int]] = []
        self.told: list[tuple[int, dict[str, int], Any]] = []
        self._rng = np.random.default_rng(random_seed)

    def suggest(self) -> dict[str, int]:
        if self.points_to_evaluate:
            return self.points_to_evaluate.pop(0)
        return {name: int(self._rng.integers(low, high + 1)) for name, (low, high) in self.domain.items()}

    def on_trial_complete(self, trial: int, config: dict[str, int], value: Any) -> None:
        self.told.append((trial, config, value))


def stand_for_syne_tune(*names: str) -> None:
    """Modules in the place of Syne Tune's, with the classes of these searchers; the others' classes are missing."""
    forget("syne_tune")
    members: dict[str, dict[str, Any]] = {
        "syne_tune.config_space": {"randint": lambda low, high: (low, high)},
        f"{SCHEDULERS}.multiobjective.multiobjective_priority": {"MOPriority": object},
        **{module: {} for module, _ in SYNE_TUNE.values()},
    }
    for name in names:
        module, cls = SYNE_TUNE[name]
        members[module][cls] = StandIn
    for path, values in members.items():
        parts = path.split(".")
        for i in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:i]), ModuleType(parts[i - 1]))
            if i > 1:
                setattr(sys.modules[".".join(parts[: i - 1])], parts[i - 1], sys.modules[".".join(parts[:i])])
        vars(sys.modules[path]).update(values)


@pytest.mark.parametrize("name", SYNE_TUNE)
def test_searcher_of_syne_tune_is_told_what_it_can_take(name: str) -> None:
    stand_for_syne_tune(*SYNE_TUNE)
    cls: Any = outside.find(f"syne-tune:{name}")
    searcher = cls(PROBLEM.space, np.random.default_rng(0))
    assert searcher.name == f"syne-tune:{name}"
    expected = []
    for config in (PROBLEM.space.largest, PROBLEM.space.smallest):
        searcher.tell(config, PROBLEM.values(config[None])[0])
        expected.append(config)
    for _ in range(10):
        config = searcher.ask()
        PROBLEM.space.check(config)
        searcher.tell(config, PROBLEM.values(config[None])[0])
        expected.append(config)
    told = searcher._searcher.told
    assert [trial for trial, *_ in told] == sorted({trial for trial, *_ in told})
    has_two = name in ("RandomSearch", "MOREA")  # the other classes minimise one number
    for (_, asked, value), config in zip(told, expected, strict=True):
        assert [asked[key] for key in PROBLEM.space.names] == config.tolist()
        error, params = PROBLEM.values(config[None])[0]
        assert value == ([error, params] if has_two else pytest.approx(error + params))
    assert (searcher._searcher.priority is not None) == (name == "MOREA")


@pytest.mark.parametrize(("name", "package"), [("TPE", "statsmodels"), ("BORE", "xgboost")])
def test_searcher_that_syne_tune_hides_names_the_package_that_it_needs(name: str, package: str) -> None:
    stand_for_syne_tune(*(SYNE_TUNE.keys() - {name}))
    with pytest.raises(UserError) as caught:
        outside.find(f"syne-tune:{name}")
    assert str(caught.value) == (
        f"searcher 'syne-tune:{name}' needs another package beside syne-tune: Syne Tune's {SYNE_TUNE[name][1]} cannot "
        f"be imported; pip install {package}"
    )


@pytest.mark.parametrize(
    ("name", "package", "command"),
    [
        ("optuna:TPESampler", "optuna", "optuna==5.0.0"),
        ("pymoo:NSGA2", "pymoo", "pymoo==0.6.2"),
        *((f"syne-tune:{name}", "syne_tune", "syne-tune==0.16.0") for name in SYNE_TUNE),
    ],
)
def test_missing_library_is_named_with_the_version_of_official_runs(name: str, package: str, command: str) -> None:
    forget(package)
    sys.modules[package] = None  # type: ignore[assignment]  # importing it fails
    library = name.partition(":")[0]
    with pytest.raises(UserError, match=f"searcher '{name}' needs {library}: pip install {command} "):
        outside.find(name)


def test_library_that_lacks_a_package_of_its_own_is_not_called_missing() -> None:
    error = ModuleNotFoundError("No module named 'dill'", name="dill")
    with mock.patch.object(importlib, "import_module", side_effect=error), pytest.raises(UserError) as caught:
        outside.find("syne-tune:REA")
    assert str(caught.value) == (
        "searcher 'syne-tune:REA' needs another package beside syne-tune: No module named 'dill'; install that package"
    )


def stand_for_numba() -> None:
    """A module in the place of numba that compiles nothing."""
    numba = ModuleType("numba")
    vars(numba).update(
        jit=lambda *_, **__: lambda function: function, intp=np.intp, boolean=np.bool_, float64=np.float64
    )
    sys.modules["numba"] = numba


def test_agemoea_names_numba_where_it_is_missing_and_runs_with_it() -> None:
    sys.modules.pop("pymoo.algorithms.moo.age", None)
    sys.modules["numba"] = None  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"'pymoo:AGEMOEA' needs another package beside pymoo: .*pip install numba$"):
        outside.find("pymoo:AGEMOEA")
    stand_for_numba()
    searcher = outside.find("pymoo:AGEMOEA")(PROBLEM.space, np.random.default_rng(0))
    asked = set()
    for _ in range(70):  # the first generation and two more
        config = searcher.ask()
        PROBLEM.space.check(config)
        searcher.tell(config, PROBLEM.values(config[None])[0])
        asked.add(tuple(config))
    assert len(asked) == 70
