"""Finished runs to export, and short measurements of speed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nasbench.export import latency
from nasbench.objectives import measuring
from nasbench.plugins.method import Method
from nasbench.runs import runner
from nasbench.runs.problem import Problem
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_PAIR


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are timed in as few passes as possible: real times depend on the machine, so no test reads them."""
    monkeypatch.setattr(measuring, "QUICK_S", 0.0)
    monkeypatch.setattr(latency, "_SECONDS", 0.0)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NASBENCH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory, cache: None) -> Callable[..., Path]:  # noqa: ARG001
    """The folder of a run that evaluates given configurations of an untrained network with random biases."""

    def carry_out(
        configs: list[Any], space: str = "large", model: Any = TINY_BERT, task: Any = TINY_PAIR, **changes: Any
    ) -> Path:
        class Evaluates(Method):
            name, summary, spaces = "evaluates-these", "for tests", ("small", "medium", "layer", "large")

            def run(self, problem: Problem) -> None:
                network = problem.pretrained()
                generator = torch.Generator().manual_seed(1)
                with torch.no_grad():  # biases of 0 would hide a bias in the wrong place
                    for value in network.model.parameters():
                        value += 0.05 * torch.randn(value.shape, generator=generator)
                for config in configs:
                    problem.evaluate(network, config)

        subject = MethodSubject(Evaluates, tmp_path_factory.mktemp("run"), task=task, model=model, n_evaluations=None)
        request = subject.request(tmp_path_factory.mktemp("results"), space=space, budget_s=1e6, **changes)
        record = runner.run(request)
        assert record.status == "complete", record.reason
        return Path(request.folder)

    return carry_out
