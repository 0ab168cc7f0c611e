"""Methods and baselines prune decoders."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from support.runs import assert_valid_record

from nasbench.declarations.model import TrainingConfiguration
from nasbench.plugins import registry
from nasbench.records.record import RunFolder
from nasbench.runs import runner
from nasbench.runs.problem import Problem
from nasbench.testing.decoders import TINY_GPT2, TINY_LLAMA
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_PAIR, TINY_REGRESSION, TINY_TEXT, TINY_ZERO_SHOT

# As the decoders of the suite are declared: one epoch for a network and for a super-network.
ONE_EPOCH = TrainingConfiguration(learning_rate=1e-3, batch_size=16, epochs=1, warmup=0.06)
DECLARED = dataclasses.replace(TINY_LLAMA, fine_tuning=ONE_EPOCH, super_network=ONE_EPOCH)
METHODS = registry.methods()
TRAINED = {"ws-nas", "ws-nas-depth", "ws-nas-ordered", "s-nas", "layer-dropping", "distillation", "learned-gates"}
"""Methods that train what they evaluate."""
READY = {
    "rfp",
    "head-pruning",
    "shortgpt",
    "wanda-sp",
    "flap",
    "magnitude",
    "low-rank",
    "distillation",
    "learned-gates",
}
"""Methods that first evaluate the language model as it is. A new method is in neither list, and may train or not."""


@pytest.mark.parametrize("task", [TINY_TEXT, TINY_ZERO_SHOT], ids=lambda task: task.name)
@pytest.mark.parametrize("name", sorted(name for name in METHODS if registry.ships(METHODS[name])))
def test_every_method_prunes_a_language_model_with_its_defaults(name: str, task: Any, tmp_path: Path) -> None:
    """The first epoch of a language model would take the whole budget of a CPU, so a ready network is not trained."""
    subject = MethodSubject(METHODS[name], tmp_path, task=task, model=DECLARED, n_evaluations=3)
    outcome = subject.run(tmp_path / "results", budget_s=1e6)
    folder = subject.request(tmp_path / "results", budget_s=1e6).folder
    assert_valid_record(outcome.record, RunFolder(folder), task)
    if name in TRAINED | READY:
        assert (outcome.record.charged_s["training"] > 0) == (name in TRAINED)
        assert (outcome.evaluations[0].charged_s["training"] == 0) == (name in READY)


def test_super_network_of_a_language_model_has_the_whole_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    training = Problem.training

    def noted(problem: Problem, network: Any, strategy: Any = None, fine_tuning: Any = None, **named: Any) -> Any:
        trained.append((network.name, fine_tuning.epochs))
        return training(problem, network, strategy, fine_tuning, **named)

    monkeypatch.setattr(Problem, "training", noted)
    subject = MethodSubject(METHODS["ws-nas-ordered"], tmp_path, task=TINY_TEXT, model=DECLARED, n_evaluations=3)
    assert subject.run(budget_s=1e6).record.status == "complete"
    assert trained == [("fine-tuned", 0), ("super-network", 1)]


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("ws-nas", TINY_REGRESSION),
        ("ws-nas-depth", TINY_PAIR),
        ("rfp", TINY_PAIR),
        ("head-pruning", TINY_PAIR),
        ("layer-dropping", TINY_PAIR),
    ],
)
@pytest.mark.parametrize("model", [TINY_LLAMA, TINY_GPT2], ids=lambda model: model.name)
def test_run_on_a_decoder_writes_a_valid_record(name: str, task: Any, model: Any, tmp_path: Path) -> None:
    subject = MethodSubject(registry.methods()[name], tmp_path / "files", task=task, model=model, n_evaluations=3)
    request = subject.request(tmp_path / "results")
    assert_valid_record(runner.run(request), RunFolder(request.folder), task)
