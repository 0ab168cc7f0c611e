"""Exported folders are built by transformers alone, with the outputs of the measured network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support.exports import logits_alone, masks, measured
from support.old_exports import write_format_1
from support.record_edits import edit_line, edit_run

import nasbench
from nasbench.errors import UserError
from nasbench.export.folder import export
from nasbench.records.record import RunFolder
from nasbench.testing.models import (
    TINY_BERT,
    TINY_DEBERTA_V2,
    TINY_DISTILBERT,
    TINY_ELECTRA,
    TINY_MODERNBERT,
    TINY_MPNET,
    TINY_ROBERTA,
)
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION

ARCHITECTURES = [
    TINY_BERT, TINY_ROBERTA, TINY_ELECTRA, TINY_DISTILBERT, TINY_MPNET, TINY_MODERNBERT, TINY_DEBERTA_V2
]  # fmt: skip
RunOf = Callable[..., Path]

WIDTHS = {
    "all kinds of layers": masks([2, 0, 4], [5, 48, 0]),
    "an empty layer": masks([3, 0, 1], [48, 0, 7]),
    "a layer without heads": masks([4, 0, 4], [48, 48, 48]),
    "equal but fewer heads": masks([2, 2, 2], [48, 48, 48]),
    "whole layers": masks([4, 0, 4], [48, 0, 48]),
    "without the first layer": masks([0, 4, 4], [0, 48, 48]),
    "equal but fewer units": masks([4, 4, 4], [11, 11, 11]),
    "no layer": masks([0, 0, 0], [0, 0, 0]),
    "full": masks([4, 4, 4], [48, 48, 48]),
}
STOCK = ("whole layers", "without the first layer", "equal but fewer units", "no layer", "full")
NOT_STOCK = {"modernbert": ("without the first layer", "no layer"), "deberta-v2": ("no layer",)}
"""What the stock classes of some families cannot be."""


NAMES = {
    "bert": "Bert", "roberta": "Roberta", "electra": "Electra", "distilbert": "DistilBert", "mpnet": "MPNet",
    "modernbert": "ModernBert", "deberta-v2": "DebertaV2",
}  # fmt: skip
"""How transformers spells each family."""


def inputs(task: Any, model: Any) -> dict[str, torch.Tensor]:
    """Token ids with padding, ``(3, 9)``, or ``(3, 2, 9)`` for multiple choice."""
    shape = (3, 2, 9) if task.kind == "multiple_choice" else (3, 9)
    ids = torch.randint(5, 12, shape, generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1:, ..., 6:] = 0
    ids[mask == 0] = 1 if model.architecture in ("roberta", "mpnet") else 0
    has_types = model.architecture not in ("distilbert", "mpnet", "modernbert")
    types = {"token_type_ids": torch.zeros_like(ids)} if has_types else {}
    return {"input_ids": ids, "attention_mask": mask, **types}


def loader_of(task: Any) -> str:
    return "AutoModelForMultipleChoice" if task.kind == "multiple_choice" else "AutoModelForSequenceClassification"


def logits(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(**batch).logits
    return found


def assert_equal(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-5)


@pytest.fixture(scope="module", params=ARCHITECTURES, ids=lambda model: model.name)
def run_of_widths(request: pytest.FixtureRequest, run_of: RunOf) -> tuple[Any, Path]:
    """A model, and a run that evaluates it with each of the widths."""
    run = run_of([*WIDTHS.values()], model=request.param)
    (weights,) = {each.weights for each in RunFolder(run).read_evaluations()} - {None}
    for i in range(len(WIDTHS)):
        edit_line(run, i, weights=weights)  # a run names the weights only of what was on its front
    edit_run(run, evaluations_sha256=None)
    return request.param, run


@pytest.mark.parametrize("kind", WIDTHS)
def test_transformers_builds_the_measured_network(kind: str, run_of_widths: tuple[Any, Path], tmp_path: Path) -> None:
    (model, run), index, out = run_of_widths, [*WIDTHS].index(kind), tmp_path / "out"
    evaluation = export(run, out, index=index)
    batch = inputs(TINY_PAIR, model)
    auto = transformers.AutoModelForSequenceClassification
    loaded, report = auto.from_pretrained(out, trust_remote_code=True, output_loading_info=True)
    assert not any(report.values())
    assert sum(p.numel() for p in loaded.parameters()) == evaluation.n_params
    expected = measured(run, batch, index)
    assert_equal(logits(loaded, batch), expected)
    assert_equal(logits(nasbench.load(out), batch), expected)
    is_stock = kind in STOCK and kind not in NOT_STOCK.get(model.architecture, ())
    assert (out / "modeling_pruned.py").exists() != is_stock
    stock = getattr(transformers, f"{NAMES[model.architecture]}ForSequenceClassification")
    if is_stock:
        assert type(loaded) is stock
        assert type(nasbench.load(out)) is stock
    else:
        with pytest.raises(Exception, match=r"num_attention_heads|intermediate_size|unsupported operand|n_heads"):
            stock.from_pretrained(out)


ALONE = {
    f"{model.name}-{task.name}": (model, task)
    for model in (TINY_BERT, TINY_ROBERTA, TINY_MPNET)
    for task in (TINY_PAIR, TINY_REGRESSION, TINY_CHOICE)
}


@pytest.fixture(scope="module")
def outputs_alone(
    run_of: RunOf, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The logits of each exported network without nasbench, and those by which the run measured it."""
    folder, cases, expected = tmp_path_factory.mktemp("alone"), [], []
    for name, (model, task) in ALONE.items():
        run, batch = run_of([WIDTHS["all kinds of layers"]], model=model, task=task), inputs(task, model)
        export(run, folder / name)
        cases.append((folder / name, loader_of(task), batch))
        expected.append(measured(run, batch))
    return dict(zip(ALONE, zip(logits_alone(cases, folder), expected, strict=True), strict=True))


@pytest.mark.parametrize("name", ALONE)
def test_folder_needs_no_nasbench(name: str, outputs_alone: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    assert_equal(*outputs_alone[name])


@pytest.mark.parametrize("kind", ["all kinds of layers", "whole layers"])
@pytest.mark.parametrize("by", ["nasbench", "transformers"])
def test_saving_a_loaded_network_keeps_what_loading_needs(kind: str, by: str, run_of: RunOf, tmp_path: Path) -> None:
    run, out = run_of([WIDTHS[kind]]), tmp_path / "out"
    export(run, out, 1.0)
    auto = transformers.AutoModelForSequenceClassification
    loaded: Any = nasbench.load(out) if by == "nasbench" else auto.from_pretrained(out, trust_remote_code=True)
    with torch.no_grad():
        loaded.classifier.bias += 1
    loaded.save_pretrained(tmp_path / "again")
    shutil.rmtree(out)
    batch = inputs(TINY_PAIR, TINY_BERT)
    for again in (nasbench.load(tmp_path / "again"), auto.from_pretrained(tmp_path / "again", trust_remote_code=True)):
        assert_equal(logits(again, batch), measured(run, batch) + 1)


def test_export_of_the_first_format_still_loads(run_of: RunOf, tmp_path: Path) -> None:
    for i, kind in enumerate(["all kinds of layers", "an empty layer"]):
        run = run_of([WIDTHS[kind]])
        out = tmp_path / f"out{i}"
        write_format_1(run, RunFolder(run).read_evaluations()[0], out)
        batch = inputs(TINY_PAIR, TINY_BERT)
        assert_equal(logits(nasbench.load(out), batch), measured(run, batch))
    description = json.loads((out / "nasbench.json").read_text())
    description["masks"]["heads"] = "00"
    (out / "nasbench.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match=r"nasbench\.json is damaged"):
        nasbench.load(out)


def test_pipeline_answers_with_class_names(run_of: RunOf, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(run_of([WIDTHS["all kinds of layers"]]), out, 1.0)
    config = json.loads((out / "config.json").read_text())
    assert config["id2label"] == {"0": "0", "1": "1"}
    assert config["label2id"] == {"0": 0, "1": 1}
    assert json.loads((out / "nasbench.json").read_text())["interface"]["label_names"] == ["0", "1"]
    assert json.loads((out / "tokenizer_config.json").read_text())["model_max_length"] == TINY_PAIR.max_length
    classify = transformers.pipeline("text-classification", str(out), trust_remote_code=True)
    answer = classify({"text": "ba be", "text_pair": "ba bi"})
    assert answer["label"] in ("0", "1")
