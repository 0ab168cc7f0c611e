"""With ``epochs=0`` a trained classifier is pruned as it is, by the methods that do not prune by training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.metrics import matthews_corrcoef
from support.user_tasks import changed, make_folder, toml

from nasbench.arrays import IntArray
from nasbench.cli.main import cli
from nasbench.data.batching import collate
from nasbench.data.splits import load_task_data
from nasbench.declarations.model import Model
from nasbench.declarations.task import Task
from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.space import make_space
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins import registry
from nasbench.plugins.user_task import load_user_task
from nasbench.records.record import Evaluation, RunFolder, find_runs
from nasbench.runs import runner
from nasbench.runs.request import RunRequest
from nasbench.testing.models import TINY_BERT, save_tiny
from nasbench.testing.tasks import TINY_SINGLE

ALL = None
KEPT_WEIGHTS = {
    **dict.fromkeys(("rfp", "flap", "low-rank", "magnitude", "ws-nas-ordered"), 1),
    **dict.fromkeys(("s-nas", "ws-nas", "ws-nas-depth", "head-pruning", "layer-dropping", "shortgpt", "wanda-sp"), ALL),
}
"""First evaluations whose weights are the original ones: one for methods that change weights without training.

Without ``distillation`` and ``learned-gates``, which refuse ``epochs=0``.
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A saved classifier whose outputs have the names of the task's classes."""
    return save_tiny(TINY_BERT, TINY_SINGLE, tmp_path_factory.mktemp("model"))


def masked_classes(task: Task, model: Model, evaluation: Evaluation, space: str) -> tuple[IntArray, IntArray]:
    """The validation labels and the predictions of a sub-network of the saved weights, by the masked stock model."""
    loaded = load_pretrained(model, task, 0)
    assert not loaded.output_is_new
    split = load_task_data(task, loaded.tokenizer, 0).validation
    network = SuperNetwork(loaded.network)
    chosen = make_space(space, network.dims)
    subnetwork = chosen.to_subnetwork(chosen.from_json(evaluation.config))
    batch = collate(split, np.arange(len(split)), loaded.tokenizer.pad_token_id)
    with torch.no_grad():
        predicted = network.masked(batch, subnetwork).argmax(1)
    return batch.labels.numpy(), predicted.numpy()


@pytest.mark.parametrize("name", KEPT_WEIGHTS)
def test_networks_have_the_weights_of_the_trained_classifier(name: str, trained: Model, tmp_path: Path) -> None:
    method = registry.methods()[name]
    searcher: Any = registry.searchers()[method.default_searcher] if method.default_searcher else None
    request = RunRequest(
        task=TINY_SINGLE, model=trained, space=method.spaces[0], method=method,
        method_options=method.Options(epochs=0), searcher=searcher,
        searcher_options=searcher.Options() if searcher else None, seed=0, device="cpu", precision="fp32",
        results_dir=tmp_path, max_evaluations=5,
    )  # fmt: skip
    record = runner.run(request)
    assert record.status == "complete", record.reason
    assert record.charged_s["training"] == 0
    evaluations = RunFolder(request.folder).read_evaluations()
    assert len(evaluations) >= 2
    for evaluation in evaluations[: KEPT_WEIGHTS[name]]:
        classes = masked_classes(TINY_SINGLE, trained, evaluation, request.space)
        assert evaluation.error == pytest.approx(1 - matthews_corrcoef(*classes), abs=1e-6)


@pytest.mark.parametrize(("method", "option"), [("rfp", "epochs"), ("ws-nas-ordered", "fine_tuning_epochs")])
def test_untrained_classifier_is_refused(method: str, option: str, tmp_path: Path) -> None:
    arguments = ["--method", method, "--task", "demo", "--model", "demo-bert", "--set", f"{option}=0", "--quiet"]
    done = CliRunner().invoke(cli, ["run", *arguments, "--results", str(tmp_path)], catch_exceptions=True)
    wanted = f"{option} = 0 keeps the weights as they are, but the output layer is new"
    assert wanted in str(done.exception or done.output)
    assert not list(tmp_path.rglob("evaluations.jsonl"))


def test_own_classifier_is_pruned_as_it_is(tmp_path: Path) -> None:
    make_folder(tmp_path)
    (tmp_path / "own.toml").write_text(toml(changed(data={"labels": ["bad", "good"]})))
    arguments = ["--method", "rfp", "--task", str(tmp_path / "own.toml"), "--set", "epochs=0", "--max-evaluations", "2"]
    arguments += ["--device", "cpu", "--precision", "fp32", "--quiet"]
    done = CliRunner().invoke(cli, ["run", *arguments, "--results", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output
    (folder,) = find_runs(tmp_path / "runs")
    record, first = RunFolder(folder).read_run(), RunFolder(folder).read_evaluations()[0]
    assert record.charged_s["training"] == 0
    assert first.params == 1
    labels, predicted = masked_classes(*load_user_task(tmp_path / "own.toml"), first, record.identity.space)
    assert first.error == pytest.approx(1 - (predicted == labels).mean(), abs=1e-6)
