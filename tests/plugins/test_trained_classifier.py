"""A trained classifier as the start of a run keeps its meaning, whatever the data call its classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support.user_tasks import BASE, changed, load, toml, write_labels

from nasbench.cli.main import cli
from nasbench.data.splits import load_task_data
from nasbench.declarations.model import Model
from nasbench.networks.pretrained import load_pretrained
from nasbench.plugins.method import Method
from nasbench.records.record import RunFolder
from nasbench.runs.problem import Problem
from nasbench.testing.models import TINY_BERT, TINY_MODELS, TINY_ROBERTA, save_tiny
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_REGRESSION, TINY_SINGLE


class Measures(Method):
    """Evaluates the network as it is."""

    name, summary, spaces = "measures", "for tests", ("small",)
    errors: ClassVar[list[float]] = []

    def run(self, problem: Problem) -> None:
        problem.evaluate(problem.pretrained(), problem.space.largest)


def sorted_by_the_network(folder: Path, model: Any, outputs: tuple[str, str], names: dict[str, str]) -> None:
    """Save a network whose outputs are called ``outputs``, and rows with the labels that it gives to them.

    Args:
        names: what the rows call each output.
    """
    save_tiny(model, TINY_SINGLE, folder / "trained")
    path = folder / "trained" / "config.json"
    config = {**json.loads(path.read_text()), "id2label": dict(enumerate(outputs)), "architectures": None}
    path.write_text(json.dumps(config | {"label2id": {name: i for i, name in enumerate(outputs)}}))
    network, tokenizer, *_ = load_pretrained(model, TINY_SINGLE, 0)
    words = [" ".join(pair) for pair in [(a, b) for a in ("ba", "di", "go", "ke", "bo") for b in ("be", "da", "gi")]]
    with torch.no_grad():
        scores = network(**tokenizer(words, return_tensors="pt", padding=True)).logits
    margin = (scores[:, 1] - scores[:, 0]).numpy()
    rank = margin > np.median(margin)
    with torch.no_grad():  # split the rows in halves
        layer = getattr(network.classifier, "out_proj", network.classifier)
        layer.bias[0] += float(np.median(margin)) + 1e-4
    network.save_pretrained(folder / "trained")
    path.write_text(json.dumps(config | {"label2id": {name: i for i, name in enumerate(outputs)}}))
    rows = [f"{text},{names[outputs[int(second)]]}" for text, second in zip(words, rank, strict=True)]
    (folder / "rows.csv").write_text("review,sentiment\n" + "\n".join(rows * 4) + "\n")


def error_and_notes(folder: Path, tables: dict[str, Any]) -> tuple[float, list[str]]:
    """The error of the untrained full network and the notes of its run."""
    task, model = load(folder, tables)
    outcome = MethodSubject(Measures, folder, task=task, model=model).run()
    assert outcome.record.status == "complete", outcome.record.reason
    assert outcome.record.interface is not None
    assert outcome.record.interface.label_names == list(task.data.label_names)
    run = next(folder.rglob("run.json")).parent
    return RunFolder(run).read_evaluations()[0].error or 0.0, outcome.record.notes


@pytest.mark.parametrize("model", TINY_MODELS, ids=lambda model: model.name)
def test_names_in_another_case_and_order_keep_the_trained_outputs(model: Any, folder: Path) -> None:
    sorted_by_the_network(folder, model, ("SPAM", "HAM"), {"SPAM": "spam", "HAM": "ham"})
    error, notes = error_and_notes(folder, changed(model={"folder": "trained"}))
    assert error == 0
    assert notes == [
        "the trained output layer is used: 'spam' is output 0 ('SPAM'), 'ham' is output 1 ('HAM')",
    ]


@pytest.mark.parametrize("labels", [["ham", "spam"], ["spam", "ham"]])
def test_listed_labels_move_the_trained_outputs(labels: list[str], folder: Path) -> None:
    sorted_by_the_network(folder, TINY_BERT, ("SPAM", "HAM"), {"SPAM": "spam", "HAM": "ham"})
    error, notes = error_and_notes(folder, changed(model={"folder": "trained"}, data={"labels": labels}))
    assert error == 0
    assert f"{labels[0]!r} is output {labels.index('spam') and 1} ('{labels[0].upper()}')" in notes[0]


def test_unknown_names_make_a_new_output_layer(folder: Path) -> None:
    sorted_by_the_network(folder, TINY_BERT, ("LABEL_0", "LABEL_1"), {"LABEL_0": "spam", "LABEL_1": "ham"})
    tables = changed(model={"folder": "trained"})
    task, model = load(folder, tables)
    loaded = load_pretrained(model, task, 0)
    assert loaded.output_is_new
    assert loaded.network.classifier.bias.tolist() == [0, 0]
    (note,) = loaded.notes
    assert note == (
        "the trained output layer is not used and a new one is trained, because its outputs ('LABEL_0', 'LABEL_1') are "
        "not the classes of the data ('ham', 'spam'); to use it, list the classes in the order of its outputs: labels "
        "in [data]"
    )
    listed = changed(model={"folder": "trained"}, data={"labels": ["spam", "ham"]})
    error, notes = error_and_notes(folder, listed)
    assert error == 0
    assert notes == ["the trained output layer is used: 'spam' is output 0 ('LABEL_0'), 'ham' is output 1 ('LABEL_1')"]


def test_other_number_of_classes_makes_a_new_output_layer(folder: Path) -> None:
    path = folder / "my model" / "config.json"
    rows = "".join(f"ba {word},{word}\n" for word in ("a", "b", "c") * 9)
    (folder / "rows.csv").write_text("review,sentiment\n" + rows)
    path.write_text(json.dumps({**json.loads(path.read_text()), "id2label": {"0": "a", "1": "b"}}))
    task, model = load(folder, changed())
    loaded = load_pretrained(model, task, 0)
    assert loaded.output_is_new
    (note,) = loaded.notes
    assert note.endswith("because its outputs ('a', 'b') are not the classes of the data ('a', 'b', 'c')")


def test_network_without_classifier_has_nothing_to_say(folder: Path) -> None:
    network, tokenizer, *_ = load_pretrained(TINY_ROBERTA, TINY_SINGLE, 0)
    network.roberta.save_pretrained(folder / "bare")
    tokenizer.save_pretrained(folder / "bare")
    task, model = load(folder, changed(model={"folder": "bare"}))
    loaded = load_pretrained(model, task, 0)
    assert loaded.output_is_new
    assert loaded.notes == ()
    assert loaded.network.config.id2label == {0: "bad", 1: "good"}
    assert len(load_task_data(task, loaded.tokenizer, 0).train) == 11


def test_mapping_is_printed_before_the_run(folder: Path) -> None:
    sorted_by_the_network(folder, TINY_BERT, ("SPAM", "HAM"), {"SPAM": "spam", "HAM": "ham"})
    (folder / "spam.toml").write_text(toml(changed(model={"folder": "trained"})))
    arguments = ["--max-evaluations", "2", "--results", str(folder / "runs"), "--quiet", "--set", "epochs=1"]
    done = CliRunner().invoke(cli, ["run", "--method", "ws-nas", "--task", str(folder / "spam.toml"), *arguments])
    assert done.exit_code == 0, done.output
    before = " ".join(done.output.partition("Pareto front")[0].split())
    assert "the trained output layer is used: 'spam' is output 0 ('SPAM'), 'ham' is output 1 ('HAM')" in before
    run = next((folder / "runs").rglob("run.json")).parent
    done = CliRunner().invoke(cli, ["export", str(run), "--out", str(folder / "out")])
    assert done.exit_code == 0, done.output
    assert json.loads((folder / "out" / "config.json").read_text())["id2label"] == {"0": "spam", "1": "ham"}
    assert json.loads((folder / "out" / "config.json").read_text())["label2id"] == {"spam": 0, "ham": 1}


class Looks(Method):
    """Records the bias of the output layer that a method gets."""

    name, summary = "looks", "for tests"
    biases: ClassVar[list[float]] = []

    def run(self, problem: Problem) -> None:
        network = problem.pretrained()
        output = network.adapter.model.classifier
        self.biases.append(getattr(output, "out_proj", output).bias.item())
        problem.evaluate(network, problem.space.largest)


@pytest.mark.parametrize("model", TINY_MODELS, ids=lambda model: model.name)
@pytest.mark.parametrize("trained", [True, False])
def test_trained_regression_keeps_its_bias(model: Model, trained: bool, folder: Path) -> None:
    """The bias of a new output layer is the mean label, here 2.5. A saved output layer stays as it is."""
    write_labels(folder, ["2", "3"] * 10)
    network, tokenizer, *_ = load_pretrained(model, TINY_REGRESSION if trained else TINY_SINGLE, 0)
    torch.nn.init.constant_(getattr(network.classifier, "out_proj", network.classifier).bias, -7.0)
    network.save_pretrained(folder / "trained")
    tokenizer.save_pretrained(folder / "trained")
    own_task, own_model = load(folder, changed(kind="regression", model={"folder": "trained"}))
    subject = MethodSubject(Looks, folder, task=own_task, model=own_model)
    Looks.biases.clear()
    record = subject.run().record
    assert record.status == "complete", record.reason
    assert Looks.biases == [-7.0] if trained else 2.3 < Looks.biases[0] < 2.7


def test_trained_model_keeps_the_order_of_its_labels(folder: Path) -> None:
    path = folder / "my model" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "id2label": {"0": "good", "1": "bad"}}))
    assert load(folder, BASE)[0].data.label_names == ("good", "bad")
    assert load(folder, changed(data={"labels": ["bad", "good"]}))[0].data.label_names == ("bad", "good")
