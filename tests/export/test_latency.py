"""The table of size and speed that export prints."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from click.testing import CliRunner

from nasbench.cli.main import cli
from nasbench.export import folder, latency, onnx_file
from nasbench.export.folder import export_network, longest_text
from nasbench.export.latency import measure, with_random_weights
from nasbench.export.loading import empty_network
from nasbench.export.recommendation import Limits, recommend
from nasbench.networks.architectures.gpt_neox import ByPart
from nasbench.networks.architectures.modeling.modeling_pruned import NarrowSelfAttention
from nasbench.objectives.measuring import inputs_of
from nasbench.records.checkpoints import Checkpoints
from nasbench.records.interface import Interface
from nasbench.testing.decoders import TINY_GPT2, TINY_GPT_NEOX, TINY_LLAMA
from nasbench.testing.models import TINY_BERT, TINY_MPNET, TINY_ROBERTA
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_TEXT

RunOf = Callable[..., Path]
USUAL_SECONDS = latency._SECONDS


class Slow(torch.nn.Module):
    """Stands for a network: pushes a clock by a fixed time at every pass, twice as far at every third."""

    def __init__(self, clock: list[float], seconds: float, config: Any) -> None:
        super().__init__()
        self.clock, self.seconds, self.config, self.passes = clock, seconds, config, itertools.count()

    def forward(self, **_: Any) -> None:
        self.clock[0] += self.seconds * (2 if next(self.passes) % 3 == 2 else 1)


def test_latency_is_the_median_of_alternating_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "_SECONDS", USUAL_SECONDS)

    class Config:
        pad_token_id, vocab_size = 0, 50

    now = [0.0]
    full, pruned = Slow(now, 0.08, Config), Slow(now, 0.02, Config)
    (times,) = measure(full, pruned, 7, batch_sizes=[4], clock=lambda: now[0])
    assert times.full_ms == pytest.approx(80)
    assert times.pruned_ms == pytest.approx(20)
    assert times.speedup == pytest.approx(4)
    assert (times.batch_size, times.length) == (4, 7)
    assert 9 <= next(full.passes) <= 12  # 0.13 s a pair: after a second no pair starts


def test_padding_may_be_the_last_token(tmp_path: Path) -> None:
    """As that of the published GPT-2, whose tokenizer pads with its end of text."""
    config = transformers.GPT2Config(
        n_embd=8, n_layer=1, n_head=2, n_positions=32, vocab_size=20, pad_token_id=19, eos_token_id=19
    )
    network = transformers.GPT2ForSequenceClassification(config).eval()
    ids = inputs_of(network, 4, 30)["input_ids"]
    assert set(ids.unique().tolist()) == set(range(19))
    assert all(times.speedup > 0 for times in measure(network, network, 32, clock=iter(range(10**6)).__next__))
    pytest.importorskip("onnxruntime", reason="no onnxruntime: pip install -e '.[onnx]'")
    assert onnx_file.write_onnx(network, ["input_ids", "attention_mask"], tmp_path).exists()


@pytest.mark.parametrize("task", [TINY_PAIR, TINY_CHOICE], ids=lambda task: task.name)
@pytest.mark.parametrize("model", [TINY_BERT, TINY_ROBERTA], ids=lambda model: model.name)
def test_export_prints_size_and_speed(model: Any, task: Any, run_of: RunOf, tmp_path: Path) -> None:
    run = run_of([[1, 3, 1]], space="small", model=model, task=task)
    done = CliRunner().invoke(cli, ["export", str(run), "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    description = json.loads((tmp_path / "out" / "nasbench.json").read_text())
    n_bytes = (tmp_path / "out" / "model.safetensors").stat().st_size
    assert f"size: {description['n_params']:,} of" in done.output
    assert f"{n_bytes / 1e6:.1f} MB" in done.output
    assert [times["batch_size"] for times in description["latency"]] == [1, 16]
    card = (tmp_path / "out" / "README.md").read_text()
    for times in description["latency"]:
        speedup = times["full_ms"] / times["pruned_ms"]
        assert f"speed: {speedup:.2f} times as fast as the full network" in done.output
        assert f"{speedup:.2f} times |" in card


@pytest.mark.parametrize(("model", "own"), [(TINY_GPT_NEOX, ByPart), (TINY_MPNET, NarrowSelfAttention)])
def test_full_network_that_is_timed_has_stock_layers(
    model: Any, own: type, run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[torch.nn.Module] = []
    monkeypatch.setattr(folder, "measure", lambda full, pruned, _: timed.extend((full, pruned)) or [])
    export_network(run_of([[2, 48, 3]], space="small", model=model), tmp_path / "out", 1.0, with_latency=True)
    full, pruned = timed
    assert not any(isinstance(module, own) for module in full.modules())
    assert sum(p.numel() for p in pruned.parameters()) < sum(p.numel() for p in full.parameters())


@pytest.mark.parametrize("model", [TINY_LLAMA, TINY_GPT2], ids=lambda model: model.name)
def test_passes_of_a_language_model_make_the_logits_of_one_token(
    model: Any, run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    keep = torch.nn.Linear.forward

    def forward(layer: torch.nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
        found = keep(layer, inputs)
        if layer.out_features == vocabulary:
            sizes.append(tuple(found.shape[:2]))
        return found

    run = run_of([[3, 48, 3], [1, 3, 1]], space="small", model=model, task=TINY_TEXT)
    vocabulary = json.loads((run / "weights" / "model" / "config.json").read_text())["vocab_size"]
    monkeypatch.setattr(torch.nn.Linear, "forward", forward)
    exported = export_network(run, tmp_path / "out", 1.0, with_latency=True)
    assert set(sizes) == {(1, 1), (16, 1)}
    assert [times.length for times in exported.latency] == [64, 64]  # all that the network takes
    sizes.clear()
    assert recommend(run, Limits(max_latency=1e9)).latency  # no limit, but measured
    assert set(sizes) == {(1, 1), (16, 1)}


def test_language_model_is_timed_at_a_usual_number_of_tokens(tmp_path: Path) -> None:
    """Passages of at most 999 bytes have fewer than 1,000 tokens, and a network may take 8,192."""
    folder = tmp_path / "weights" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 8192}))
    due = {"language_modelling": 128, "zero_shot_choice": 128, "classification": 1000}
    for kind, length in due.items():
        record: Any = SimpleNamespace(interface=Interface(kind, ["text"], [], 1000))
        assert longest_text(Checkpoints(tmp_path), record) == length


def test_random_weights_leave_the_random_state(run_of: RunOf) -> None:
    run = run_of([[1, 3, 1]], space="small")
    before = torch.get_rng_state()
    model = with_random_weights(empty_network(run / "weights" / "model"))
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(value.is_meta for value in (*model.parameters(), *model.buffers()))
