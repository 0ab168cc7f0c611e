"""An exported network as the start of another run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.user_tasks import BASE, load, toml, write_rows
from torch import nn

import nasbench
from nasbench.data.batching import Batch
from nasbench.export import recommendation
from nasbench.export.folder import export
from nasbench.export.latency import Latency
from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.objectives import measuring, modelled
from nasbench.testing.decoders import TINY_LLAMA, TINY_QWEN2
from nasbench.testing.models import (
    TINY_BERT,
    TINY_DISTILBERT,
    TINY_ELECTRA,
    TINY_ROBERTA,
    save_tiny,
)
from nasbench.testing.tasks import TINY_SINGLE

RunOf = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path)
    save_tiny(TINY_BERT, TINY_SINGLE, tmp_path / "first")
    return tmp_path


def exported(folder: Path, run_of: RunOf, config: list[int], space: str) -> None:
    task, model = load(folder, {**BASE, "model": {"folder": "first"}})
    export(run_of([config], space=space, task=task, model=model), folder / "my model", 1.0)


def test_network_with_fewer_whole_layers_is_pruned_further(folder: Path, run_of: RunOf) -> None:
    exported(folder, run_of, [1, 0, 1], "layer")
    (folder / "own.toml").write_text(toml(BASE))
    run = nasbench.run(
        "layer-dropping", folder / "own.toml", results=folder / "runs", budget_s=60, max_evaluations=3, quiet=True,
        options={"epochs": 1},
    )  # fmt: skip
    assert run.status == "complete", run.record.reason
    assert run.record.dimensions["n_layers"] == 2
    assert (
        run.record.notes[0]
        == "the trained output layer is used: 'bad' is output 0 ('bad'), 'good' is output 1 ('good')"
    )
    again = run.export(folder / "again", 0.99)
    assert sum(p.numel() for p in again.parameters()) < run.record.n_params_full


WIDTHS = [2, 0, 4, 5, 48, 0]
"""Heads and units of three layers in MEDIUM: a layer without heads, and one without units."""


@pytest.fixture(
    params=[TINY_BERT, TINY_ROBERTA, TINY_ELECTRA, TINY_DISTILBERT, TINY_LLAMA, TINY_QWEN2],
    ids=lambda model: model.name,
)
def pruned(request: pytest.FixtureRequest, tmp_path: Path, run_of: RunOf) -> Path:
    """A folder with a task file whose model has layers of different widths."""
    write_rows(tmp_path)
    save_tiny(request.param, TINY_SINGLE, tmp_path / "first")
    exported(tmp_path, run_of, WIDTHS, "medium")
    (tmp_path / "own.toml").write_text(toml(BASE))
    return tmp_path


def test_network_with_layers_of_different_widths_is_the_full_network_of_another_run(pruned: Path) -> None:
    """Sliced, masked and extracted passes equal the exported network, and its parameters are those of the start."""
    start = nasbench.load(pruned / "my model")
    task, model = load(pruned, BASE)
    found = load_pretrained(model, task, seed=0)
    network = SuperNetwork(found.network)
    assert (network.dims.heads_by_layer, network.dims.units_by_layer) == ((2, 0, 4), (5, 48, 0))
    ids = torch.randint(3, start.config.vocab_size, (6, 7), generator=torch.Generator().manual_seed(0))
    batch = Batch(ids, torch.zeros_like(ids), None, torch.zeros(6), np.arange(6))
    with torch.no_grad():
        expected = start(input_ids=ids).logits
        full = SubNetwork.full(network.dims)
        for logits in (network.forward(batch), network.masked(batch), network.extract(full).forward(batch)):
            torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    assert network.dims.n_params == network.extract(full).count_params() == sum(p.numel() for p in start.parameters())


@pytest.mark.parametrize("pruned", [TINY_BERT, TINY_LLAMA], indirect=True, ids=["tiny-bert", "tiny-llama"])
def test_speed_is_that_beside_the_start_and_not_beside_its_widest_layers(
    pruned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_params = sum(p.numel() for p in nasbench.load(pruned / "my model").parameters())
    monkeypatch.setattr(modelled, "N_NETWORKS", 8)
    run = nasbench.run(
        "ws-nas", pruned / "own.toml", results=pruned / "runs", budget_s=60, max_evaluations=2, quiet=True,
        options={"epochs": 1}, objectives=("error", "latency"),
    )  # fmt: skip
    assert run.status == "complete", run.record.reason
    sizes = []

    def measured(full: nn.Module, _pruned: nn.Module, _length: int) -> list[Latency]:
        sizes.append(sum(p.numel() for p in full.parameters()))
        return []

    monkeypatch.setattr(recommendation, "measure", measured)
    recommendation.recommend(run.folder, recommendation.Limits(max_latency=1))

    class Pair:
        def __init__(self, full: nn.Module, _other: nn.Module) -> None:
            sizes.append(sum(p.numel() for p in full.parameters()))

        def ratio(self, _shape: object) -> float:
            return 1.0

        def measured(self, _shapes: object) -> dict[str, float]:
            return {}

    monkeypatch.setattr(measuring.SubNetworkTimer, "pair", Pair)
    network = SuperNetwork(load_pretrained(load(pruned, BASE)[1], load(pruned, BASE)[0], seed=0).network)
    timer = measuring.SubNetworkTimer(network.model, network.dims)
    timer.ratios([SubNetwork.full(network.dims)])
    timer.measured(SubNetwork.full(network.dims))
    assert sizes == [n_params] * 3


@pytest.mark.parametrize(
    ("method", "reason"), [("rfp", None), ("ws-nas-ordered", "a network without heads or without units has no sub-")]
)
def test_network_without_heads_is_pruned_or_refused(
    folder: Path, run_of: RunOf, method: str, reason: str | None
) -> None:
    exported(folder, run_of, [0, 0, 0, 5, 48, 7], "medium")
    (folder / "own.toml").write_text(toml(BASE))
    run = nasbench.run(
        method, folder / "own.toml", results=folder / "runs", budget_s=60, max_evaluations=4, quiet=True,
        options={"epochs": 2},
    )  # fmt: skip
    assert (run.record.reason or "").startswith(reason or "")
    assert len(run.evaluations) == (0 if reason else 4)


@pytest.mark.parametrize(
    "method", ["ws-nas", "s-nas", "head-pruning", "rfp", "layer-dropping", "ws-nas-depth", "low-rank"]
)
@pytest.mark.parametrize("pruned", [TINY_BERT], indirect=True, ids=["tiny-bert"])
def test_every_method_prunes_a_network_with_layers_of_different_widths(pruned: Path, method: str) -> None:
    run = nasbench.run(
        method, pruned / "own.toml", results=pruned / "runs", budget_s=60, max_evaluations=5, quiet=True,
        options={"epochs": 1},
    )  # fmt: skip
    assert run.status == "complete", run.record.reason
    again = run.export(pruned / "again", 0.99)
    n_params = sum(p.numel() for p in again.parameters())
    assert (
        n_params < run.record.n_params_full == sum(p.numel() for p in nasbench.load(pruned / "my model").parameters())
    )
    assert nasbench.load(pruned / "again").config.to_dict().get("nasbench_widths") is None
