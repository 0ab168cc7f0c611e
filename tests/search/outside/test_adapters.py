"""Optimisers of other libraries as searchers: the contract, and better results than random search."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from support.libraries import NEEDS_OPTUNA, NEEDS_SYNE_TUNE

from nasbench.errors import UnknownName, UserError
from nasbench.plugins import registry
from nasbench.runs.request import make_request
from nasbench.search import outside
from nasbench.search.searcher import Searcher
from nasbench.testing.analytic import PROBLEMS

NAMES = [
    *(pytest.param(f"syne-tune:{name}", marks=NEEDS_SYNE_TUNE) for name in ("RandomSearch", "MOREA", "REA")),
    *(f"pymoo:{name}" for name in ("NSGA2", "NSGA3", "SMSEMOA", "MOEAD", "SPEA2")),
    *(pytest.param(f"optuna:{name}", marks=NEEDS_OPTUNA) for name in ("NSGAIISampler", "TPESampler", "GPSampler")),
]
FOLDER = Path(outside.__file__).parent
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", NAMES)
def test_proposals_are_in_the_space_and_depend_only_on_the_seed(name: str) -> None:
    problem = PROBLEMS["smooth"]

    def proposals(seed: int, n: int) -> list[list[int]]:
        searcher = outside.find(name)(problem.space, np.random.default_rng(seed))
        asked = []
        for config in (problem.space.largest, problem.space.smallest, problem.space.midpoint):
            searcher.tell(config, problem.values(config[None])[0])
        for i in range(n):
            config = searcher.ask()
            problem.space.check(config)
            asked.append(config.tolist())
            if i % 7 != 5:  # the others fail
                searcher.tell(config, problem.values(config[None])[0])
        return asked

    n = 14 if "GP" in name else 60
    before = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    first = proposals(0, n)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    assert proposals(0, n) == first
    assert proposals(1, 4) != first[:4]


@pytest.mark.parametrize(
    "name", ["pymoo:SMSEMOA", "pymoo:NSGA2", pytest.param("optuna:TPESampler", marks=NEEDS_OPTUNA)]
)
def test_optimisers_find_more_than_random_search(name: str) -> None:
    problem = PROBLEMS["smooth"]

    n_evaluations = 100 if "TPE" in name else 200  # TPE is slow

    def found(cls: type[Searcher]) -> float:
        rngs = (np.random.default_rng(seed) for seed in range(4))
        return float(np.mean([problem.run(cls(problem.space, rng), n_evaluations, rng).hypervolume for rng in rngs]))

    assert found(outside.find(name)) > found(registry.searchers()["random"])


def test_unknown_names_give_one_line() -> None:
    with pytest.raises(UnknownName, match="library of searchers 'pymo'; did you mean 'pymoo'"):
        outside.find("pymo:NSGA2")
    with pytest.raises(UnknownName, match="algorithm of pymoo 'SMSEMO'; did you mean 'SMSEMOA'"):
        outside.find("pymoo:SMSEMO")


@NEEDS_OPTUNA
def test_unknown_sampler_gives_one_line() -> None:
    with pytest.raises(UnknownName, match="sampler of Optuna 'NSGASampler'"):
        outside.find("optuna:NSGASampler")


@NEEDS_OPTUNA
@pytest.mark.parametrize(("name", "reason"), [("GridSampler", "search_space"), ("CmaEsSampler", "multi-objective")])
def test_sampler_that_cannot_work_is_refused_before_a_run(name: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"'optuna:{name}' cannot be a searcher: .*{reason}"):
        outside.find(f"optuna:{name}")


@NEEDS_SYNE_TUNE
def test_syne_tunes_priority_is_replaced_because_it_gives_an_order_instead_of_ranks() -> None:
    from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import NonDominatedPriority

    from nasbench.search.outside.syne_tune_adapter import Ranks

    points = np.array([[2.0, 2.0], [0.0, 0.0], [1.0, 1.0]])
    assert Ranks()(points).tolist() == [2, 0, 1]
    assert NonDominatedPriority()(points).tolist() == [1, 2, 0]  # once this fails, Ranks is no longer needed
    with pytest.raises(UnknownName, match="searcher of Syne Tune 'MOREAA'; did you mean 'MOREA'"):
        outside.find("syne-tune:MOREAA")


def test_runs_with_an_outside_optimiser_are_unofficial() -> None:
    assert not registry.ships(outside.find("pymoo:NSGA2"))


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*_adapter.py")), ids=lambda file: file.name)
def test_an_adapter_is_short(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 100


def test_pinned_versions_are_those_that_are_tested() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = dict(line.split()[0].split("==") for line in lines if re.match(r"[\w-]+==", line))
    for library, version in outside.PINNED.items():
        assert pinned[library] == version
        assert version in (ROOT / "docs" / "tables.md").read_text()


@pytest.mark.parametrize(("installed", "reasons"), [("0.6.2", []), ("0.6.1", ["pymoo 0.6.1 is installed, official"])])
def test_run_with_an_outside_optimiser_is_official_with_the_pinned_version_only(
    installed: str, reasons: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "version", lambda _library: installed)
    request = make_request("ws-nas", "demo", searcher="pymoo:NSGA2", device="cpu")
    assert len(request.unofficial) == len(reasons)
    assert all(found.startswith(expected) for found, expected in zip(request.unofficial, reasons, strict=True))
