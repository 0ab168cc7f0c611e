"""A table of the tiny network, made once, and the run whose super-network it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nasbench.networks import space as space_module
from nasbench.plugins import registry
from nasbench.records.record import RunFolder
from nasbench.runs import runner
from nasbench.runs.request import RunRequest
from nasbench.tables.measure import tabulate
from nasbench.tables.table import Table
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import Outcome
from nasbench.testing.tasks import TINY_REGRESSION

SEED = 3
N_STEPS = 12


@contextmanager
def _steps() -> Iterator[None]:
    """A grid of 12 steps of 4 units, so that units and steps differ on the tiny network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(space_module, "LEAST_STEPS", N_STEPS)
        yield


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of this folder use the small grid. A fixture of the whole session would change other folders' tests.

    It shares the test's own patches: two sets of patches of one name would be taken back in the wrong order.
    """
    monkeypatch.setattr(space_module, "LEAST_STEPS", N_STEPS)


MakeRequest = Callable[..., RunRequest]


@pytest.fixture(scope="session")
def make_request() -> MakeRequest:
    """Makes the request of a run of ws-nas on the tiny network."""

    def make(results: Path, searcher: str = "random", **changes: Any) -> RunRequest:
        method, chosen = registry.methods()["ws-nas"], registry.searchers()[searcher]
        usual: dict[str, Any] = {
            "task": TINY_REGRESSION,
            "model": TINY_BERT,
            "space": "small",
            "method": method,
            "method_options": method.Options(epochs=2, learning_rate=2e-3),
            "searcher": chosen,
            "searcher_options": chosen.Options(),
            "seed": SEED,
            "device": "cpu",
            "precision": "fp32",
            "results_dir": results,
        }
        return RunRequest(**{**usual, **changes})

    return make


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory, make_request: MakeRequest) -> Table:
    """The table of the tiny network."""
    path = tmp_path_factory.mktemp("tables") / "tiny.parquet"
    with _steps():
        tabulate(make_request(path), path)
    return Table(path)


@pytest.fixture(scope="session")
def real_run(tmp_path_factory: pytest.TempPathFactory, make_request: MakeRequest) -> Outcome:
    """A run of ws-nas on the network in the space small-grid."""
    request = make_request(tmp_path_factory.mktemp("real"), space="small-grid", max_evaluations=60)
    with _steps():
        record = runner.run(request)
    return Outcome(record, RunFolder(request.folder).read_evaluations())
