"""Families beside BERT and RoBERTa: saved as a user would, pruned, exported and used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support.user_tasks import BASE, load_all, toml, write_rows

import nasbench
from nasbench.cli.main import cli
from nasbench.data.batching import collate
from nasbench.data.splits import load_task_data
from nasbench.errors import UserError
from nasbench.export.folder import export
from nasbench.networks.pretrained import load_pretrained, n_positions
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.testing.models import (
    TINY_DEBERTA_V2,
    TINY_DISTILBERT,
    TINY_ELECTRA,
    TINY_MODERNBERT,
    TINY_MPNET,
    TINY_RELATIVES,
    save_tiny,
)
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION, TINY_SINGLE

FAMILIES = [*TINY_RELATIVES, TINY_ELECTRA, TINY_DISTILBERT, TINY_MPNET, TINY_MODERNBERT, TINY_DEBERTA_V2]
BY_NAME = pytest.mark.parametrize("model", TINY_RELATIVES, ids=lambda model: model.name)


@BY_NAME
@pytest.mark.parametrize("task", [TINY_SINGLE, TINY_PAIR, TINY_REGRESSION, TINY_CHOICE], ids=lambda task: task.name)
def test_sliced_pass_gives_the_outputs_of_the_stock_model(model: Any, task: Any) -> None:
    loaded = load_pretrained(model, task, 0)
    assert type(loaded.network).__name__.startswith({"xlm-roberta": "XLMRoberta"}.get(model.architecture, "Camembert"))
    data = load_task_data(task, loaded.tokenizer, 0)
    loaded.check_fits(data)
    batch = collate(data.validation, np.arange(8), loaded.tokenizer.pad_token_id)
    inputs = {"input_ids": batch.input_ids, "attention_mask": (batch.input_ids != 1).long()}
    if task.kind == "multiple_choice":
        inputs = {name: value.reshape(8, 4, -1) for name, value in inputs.items()}
    network = SuperNetwork(loaded.network)
    network.n_choices = data.validation.n_choices
    half = SubNetwork.from_counts([2, 0, 4], [7, 48, 0], network.dims)
    with torch.no_grad():
        torch.testing.assert_close(network.forward(batch), loaded.network(**inputs).logits, atol=1e-5, rtol=1e-5)
        expected = network.forward(batch, half)
        extracted = network.extract(half).model(**inputs).logits
    torch.testing.assert_close(extracted, expected, atol=1e-5, rtol=1e-5)


@BY_NAME
def test_positions_start_after_the_padding_index(model: Any, tmp_path: Path) -> None:
    saved = save_tiny(model, TINY_PAIR, tmp_path / "saved")
    network, tokenizer, *_ = load_pretrained(saved, TINY_PAIR, 0)
    assert n_positions(network.config.to_dict()) == 64
    tokens = tokenizer("ba be", "bi")["input_ids"]
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert [tokens[0], tokens[3], tokens[4], tokens[-1]] == [start, end, end, end]
    assert len(tokens) == 7


@pytest.mark.parametrize("model", FAMILIES, ids=lambda model: model.name)
def test_saved_network_is_pruned_exported_and_predicts(model: Any, tmp_path: Path) -> None:
    write_rows(tmp_path)
    save_tiny(model, TINY_SINGLE, tmp_path / "my model")
    load_all(tmp_path, BASE)
    (tmp_path / "own.toml").write_text(toml(BASE))
    arguments = ["--max-evaluations", "6", "--results", str(tmp_path / "runs"), "--quiet", "--set", "epochs=1"]
    done = CliRunner().invoke(cli, ["run", "--method", "ws-nas", "--task", str(tmp_path / "own.toml"), *arguments])
    assert done.exit_code == 0, done.output
    run = next((tmp_path / "runs").rglob("run.json")).parent
    chosen = export(run, tmp_path / "out", 0.999)
    loaded: Any = nasbench.load(tmp_path / "out")
    assert sum(p.numel() for p in loaded.parameters()) == chosen.n_params
    done = CliRunner().invoke(cli, ["predict", str(tmp_path / "out"), str(tmp_path / "rows.csv")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "rows-predictions.csv").read_text().splitlines()[0].endswith('"probability_good"')


def change_config(folder: Path, **options: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **options}))


def test_modernbert_that_averages_over_tokens_gets_a_classifier_of_the_first(tmp_path: Path) -> None:
    saved = save_tiny(TINY_MODERNBERT, TINY_PAIR, tmp_path)
    change_config(tmp_path, classifier_pooling="mean")
    with pytest.raises(UserError, match="reads the mean of all tokens, and only the first token can be read"):
        load_pretrained(saved, TINY_PAIR, 0)
    loaded = load_pretrained(saved, TINY_REGRESSION, 0)
    assert loaded.output_is_new
    assert loaded.network.config.classifier_pooling == "cls"


def test_missing_head_of_modernbert_is_new_with_a_norm_of_ones(tmp_path: Path) -> None:
    saved = save_tiny(TINY_MODERNBERT, TINY_PAIR, tmp_path)
    load_pretrained(saved, TINY_PAIR, 0).network.model.save_pretrained(tmp_path)
    network = load_pretrained(saved, TINY_PAIR, 0).network
    assert (network.head.norm.weight == 1).all()
    assert float(network.head.dense.weight.detach().std()) == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"conv_kernel_size": 3}, "with a convolution cannot be pruned"),
        ({"share_att_key": False}, "needs relative_attention, share_att_key"),
        ({"pos_att_type": ["c2p"]}, "needs relative_attention, share_att_key"),
    ],
    ids=["convolution", "own projections", "one direction"],
)
def test_deberta_of_another_kind_is_refused(options: Any, reason: str, tmp_path: Path) -> None:
    from transformers import DebertaV2ForSequenceClassification

    saved = save_tiny(TINY_DEBERTA_V2, TINY_PAIR, tmp_path)
    change_config(tmp_path, **options)
    config = DebertaV2ForSequenceClassification.config_class.from_pretrained(tmp_path)
    DebertaV2ForSequenceClassification(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=reason):
        load_pretrained(saved, TINY_PAIR, 0)
