"""The declarations against the paper's table of tasks."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from nasbench.networks.space import SPACES
from nasbench.plugins import registry

# Section 6 of the reference: rows of train and dev, budget of the comparison, primary metric, texts an example.
PAPER = {
    "rte": (2_490, 277, 7_200, "accuracy", 2),
    "mrpc": (3_668, 408, 7_200, "f1", 2),
    "stsb": (5_749, 1_500, 7_200, "spearman", 2),
    "cola": (8_551, 1_043, 7_200, "matthews", 1),
    "imdb": (25_000, 25_000, 14_400, "accuracy", 1),
    "sst2": (67_349, 872, 14_400, "accuracy", 1),
    "swag": (73_546, 20_006, 14_400, "accuracy", 5),
    "qnli": (104_743, 5_463, 14_400, "accuracy", 2),
}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_tasks(name: str) -> None:
    task = registry.tasks()[name]
    n_train, n_test, budget_s, metric, n_texts = PAPER[name]
    assert task.data.n_rows == (n_train, n_test)
    assert task.budgets["paper", "gpu"] == budget_s
    assert task.metric == metric
    assert len(task.data.text_columns) == n_texts
    assert task.validation_fraction == 0.3
    assert task.validation_limit == (2_048 if name in ("sst2", "qnli", "swag", "imdb") else None)
    assert task.max_length == 128
    assert len(str(task.data.revision)) == 40


def test_there_are_eight_and_the_demonstration() -> None:
    assert set(registry.tasks()) == {*PAPER, "demo"}
    assert set(registry.models()) == {"bert-base-cased", "roberta-base", "minilm-l6", "demo-bert"}


@pytest.mark.parametrize("name", [*PAPER, "demo"])
def test_declarations_fit_together(name: str) -> None:
    task, models = registry.tasks()[name], registry.models()
    assert task.name == name
    assert task.n_logits == {"regression": 1, "multiple_choice": 1, "classification": task.n_labels}[task.kind]
    assert (task.kind == "regression") == (task.metric in ("spearman", "pearson"))
    assert task.metric not in task.other_metrics
    assert task.default_space in SPACES
    for device_class, model in task.default_models.items():
        assert task.budget_s(models[model], device_class) is not None
    # What is for a few minutes on a small model is shorter than what is for hours on a large one.
    small = models["minilm-l6"]
    assert task.budget_s(small, "gpu") < task.budget_s(small, "cpu") <= 3_600


def test_the_demonstration_is_ranked_apart_whatever_the_model() -> None:
    tasks, models = registry.tasks(), registry.models()
    assert {tasks["demo"].track_of(models[name]) for name in models} == {"demo"}
    assert [tasks["rte"].track_of(models[name]) for name in ("bert-base-cased", "minilm-l6")] == ["paper", "compact"]
    assert tasks["rte"].budget_s(models["demo-bert"], "cpu") is None


@pytest.mark.parametrize("name", ["bert-base-cased", "roberta-base", "minilm-l6"])
def test_models_from_the_hub_are_pinned(name: str) -> None:
    model = registry.models()[name]
    assert model.hub_id is not None
    assert len(str(model.revision)) == 40


def test_declarations_are_light() -> None:
    code = (
        "import sys; from nasbench.plugins import registry; registry.tasks()['rte']; registry.models()['minilm-l6']; "
        "sys.exit(', '.join({'torch', 'transformers', 'datasets', 'pandas', 'pyarrow'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_bare_folder_refuses_to_be_imported() -> None:
    path = Path(__file__).parents[2] / "benchmark" / "__init__.py"
    spec = importlib.util.spec_from_file_location("benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=r"import nasbench\.benchmark"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
