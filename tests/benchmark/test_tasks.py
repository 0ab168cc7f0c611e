"""The declarations against the paper's table of tasks (section 4.1)."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nasbench.networks.space import SPACES
from nasbench.plugins import registry

# By size of the training set: rows of train and test, budget in seconds, primary metric, texts per example, title.
ZERO_SHOT = {"piqa": 2, "arc_easy": 4, "boolq": 2, "openbookqa": 4, "winogrande": 2}
TEXT = ("wikitext2", "imdb-lm", "lambada")
PAPER = {
    "rte": (2_490, 277, 7_200, "accuracy", 2, "RTE"),
    "mrpc": (3_668, 408, 7_200, "f1", 2, "MRPC"),
    "stsb": (5_749, 1_500, 7_200, "spearman", 2, "STS-B"),
    "cola": (8_551, 1_043, 7_200, "matthews", 1, "CoLA"),
    "imdb": (25_000, 25_000, 14_400, "accuracy", 1, "IMDB"),
    "sst2": (67_349, 872, 14_400, "accuracy", 1, "SST-2"),
    "swag": (73_546, 20_006, 14_400, "accuracy", 5, "SWAG"),
    "qnli": (104_743, 5_463, 14_400, "accuracy", 2, "QNLI"),
}


@pytest.mark.parametrize("name", PAPER)
def test_paper_task_is_declared_as_in_the_paper(name: str) -> None:
    task = registry.tasks()[name]
    n_train, n_test, budget_s, metric, n_texts, title = PAPER[name]
    assert task.title == title
    assert task.data.n_rows == (n_train, n_test)
    assert task.budgets["paper", "gpu"] == budget_s
    assert task.metric == metric
    assert len(task.data.text_columns) == n_texts
    assert task.validation_fraction == 0.3
    assert task.validation_limit == (2_048 if name in ("sst2", "qnli", "swag", "imdb") else None)
    assert task.max_length == 128
    assert len(str(task.data.revision)) == 40


def test_suite_has_the_paper_tasks_and_the_demonstration() -> None:
    assert set(registry.tasks()) == {*PAPER, "demo", *TEXT, *ZERO_SHOT}
    assert set(registry.models()) == {
        "bert-base-cased", "roberta-base", "mpnet-base", "minilm-l6", "demo-bert",
        "smollm2-135m", "smollm2-135m-q4_1", "gpt2", "pythia-160m", "modernbert-base", "deberta-v3-base",
        "bert-large-uncased",
    }  # fmt: skip


@pytest.mark.parametrize("name", [*PAPER, "demo"])
def test_declarations_of_a_task_agree(name: str) -> None:
    task, models = registry.tasks()[name], registry.models()
    assert task.name == name
    assert task.n_logits == {"regression": 1, "multiple_choice": 1, "classification": task.n_labels}[task.kind]
    assert (task.kind == "regression") == (task.metric in ("spearman", "pearson"))
    assert task.metric not in task.other_metrics
    assert task.default_space in SPACES
    for device_class, model in task.default_models.items():
        assert task.budget_s(models[model], device_class) is not None
    # A GPU gets less time than a CPU, and no budget of the small model is longer than an hour.
    small = models["minilm-l6"]
    assert task.budget_s(small, "gpu") < task.budget_s(small, "cpu") <= 3_600


@pytest.mark.parametrize("name", PAPER)
def test_decoders_have_the_budgets_of_other_networks_of_their_size(name: str) -> None:
    task, models = registry.tasks()[name], registry.models()
    for device_class in ("gpu", "cpu"):
        for model in ("smollm2-135m-q4_1", "gpt2", "pythia-160m"):
            budget_s = task.budget_s(models[model], device_class)
            assert budget_s == task.budget_s(models["mpnet-base"], device_class) is not None


def test_tasks_are_ordered_by_size_of_the_training_set() -> None:
    tasks = registry.paper_tasks()
    assert [task.name for task in tasks] == list(PAPER)
    sizes = [task.data.n_rows[0] for task in tasks if task.data.n_rows is not None]
    assert sizes == sorted(sizes)
    assert len(sizes) == 8
    assert [task.name for task in registry.suite_tasks()] == [
        "demo",
        *PAPER,
        "wikitext2",
        "imdb-lm",
        *ZERO_SHOT,
        "lambada",
    ]


def test_demonstration_has_a_track_of_its_own_with_every_model() -> None:
    tasks, models = registry.tasks(), registry.models()
    assert {tasks["demo"].track_of(models[name]) for name in models} == {"demo"}
    assert [tasks["rte"].track_of(models[name]) for name in ("bert-base-cased", "minilm-l6")] == ["paper", "compact"]
    assert tasks["rte"].budget_s(models["demo-bert"], "cpu") is None


def test_hub_models_are_pinned_to_a_commit() -> None:
    models = [model for model in registry.models().values() if model.hub_id is not None]
    assert len(models) == 10
    for model in models:
        assert re.fullmatch("[0-9a-f]{40}", str(model.revision)), model.name


def test_declarations_load_no_heavy_library() -> None:
    code = (
        "import sys; from nasbench.plugins import registry; registry.tasks()['rte']; registry.models()['minilm-l6']; "
        "sys.exit(', '.join({'torch', 'transformers', 'datasets', 'pandas', 'pyarrow'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_import_of_the_bare_folder_fails() -> None:
    path = Path(__file__).parents[2] / "benchmark" / "__init__.py"
    spec = importlib.util.spec_from_file_location("benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=r"import nasbench\.benchmark"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_classes_have_the_names_of_the_data_sets_cards() -> None:
    names = {
        "rte": ("entailment", "not_entailment"),
        "qnli": ("entailment", "not_entailment"),
        "demo": ("entailment", "not_entailment"),
        "mrpc": ("not_equivalent", "equivalent"),
        "cola": ("unacceptable", "acceptable"),
        "sst2": ("negative", "positive"),
        "imdb": ("negative", "positive"),
        "swag": ("0", "1", "2", "3"),
        "stsb": (),
        **dict.fromkeys(TEXT, ()),
        **{name: tuple("0123"[:n]) for name, n in ZERO_SHOT.items()},
    }
    assert {name: task.classes for name, task in registry.tasks().items()} == names
    for task in registry.tasks().values():
        assert len(task.classes) == (0 if task.kind in ("regression", "language_modelling") else task.n_labels)
