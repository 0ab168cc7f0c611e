"""Exported networks with factored projections are built by transformers alone, with the outputs of W = B A."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from support.exports import encoded, logits_alone
from support.user_tasks import BASE, load, write_rows

import nasbench
from nasbench.errors import UserError
from nasbench.export.folder import export
from nasbench.export.quantization import quantized
from nasbench.export.recommendation import Limits, recommend
from nasbench.networks.pretrained import load_pretrained
from nasbench.plugins.method import Method
from nasbench.records.record import RunFolder
from nasbench.runs import runner
from nasbench.runs.problem import Problem
from nasbench.testing.decoders import TINY_DECODERS, TINY_GPT2, TINY_GPT_NEOX, TINY_LLAMA
from nasbench.testing.models import TINY_BERT, TINY_ENCODERS, TINY_MODERNBERT
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_PAIR, TINY_TEXT

JOINT = (TINY_MODERNBERT, TINY_GPT2, TINY_GPT_NEOX)
APART = [model for model in (*TINY_ENCODERS, *TINY_DECODERS) if model not in JOINT]
"""Networks whose projections are layers of their own."""
RanksOf = Callable[[Any], Any]


def mixed(space: Any) -> Any:
    """Ranks from 1 to whole."""
    return np.maximum(space.sample(np.random.default_rng(0)), 1)


@pytest.fixture
def run_of(tmp_path: Path, cache: None) -> Callable[..., Path]:  # noqa: ARG001
    """The folder of a run that evaluates one untrained network with random factors and biases."""

    def carry_out(model: Any, task: Any = TINY_PAIR, ranks: RanksOf = mixed) -> Path:
        class Factors(Method):
            name, summary, spaces = "random-factors", "for tests", ("ranks",)

            def run(self, problem: Problem) -> None:
                config = ranks(problem.space)
                network = problem.pretrained().extract(problem.space.to_subnetwork(config), "small")
                generator = torch.Generator().manual_seed(1)
                with torch.no_grad():  # biases of 0 would hide a bias in the wrong place
                    for value in network.model.parameters():
                        value += 0.1 * torch.randn(value.shape, generator=generator)
                problem.evaluate_module(network.model, config, "small")

        subject = MethodSubject(Factors, tmp_path / "run", task=task, model=model, n_evaluations=None)
        request = subject.request(tmp_path / "results", space="ranks", budget_s=1e6)
        record = runner.run(request)
        assert record.status == "complete", record.reason
        return Path(request.folder)

    return carry_out


def multiplied_out(run: Path) -> Any:
    """The stock network of transformers with W = B A in the place of the saved factors."""
    config = transformers.AutoConfig.from_pretrained(run / "weights" / "model")
    stock = getattr(transformers, config.architectures[0])(config).eval()
    tensors = load_file(run / "weights" / "small.safetensors")
    for name in [name for name in tensors if name.endswith(".0.weight") and f"{name[:-9]}.1.weight" in tensors]:
        place = name.removesuffix(".0.weight")
        tensors[f"{place}.weight"] = tensors.pop(f"{place}.1.weight") @ tensors.pop(name)
        if f"{place}.1.bias" in tensors:
            tensors[f"{place}.bias"] = tensors.pop(f"{place}.1.bias")
    stock.load_state_dict(tensors)
    return stock


def assert_same_outputs(one: Any, other: Any, batch: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        found, expected = one(**batch).logits, other(**batch).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert expected.std() > 1e-3


@pytest.mark.parametrize("model", APART, ids=lambda model: model.name)
def test_transformers_builds_the_measured_network(model: Any, run_of: Callable[..., Path], tmp_path: Path) -> None:
    run, out = run_of(model), tmp_path / "out"
    evaluation = export(run, out, 1.0)
    auto: Any = transformers.AutoModelForSequenceClassification
    loaded, report = auto.from_pretrained(out, trust_remote_code=True, output_loading_info=True)
    assert not any(report.values())
    assert sum(p.numel() for p in loaded.parameters()) == evaluation.n_params
    batch = encoded(out)
    for each in (loaded, nasbench.load(out)):
        assert_same_outputs(each, multiplied_out(run), batch)
    loaded.save_pretrained(tmp_path / "again")
    again = auto.from_pretrained(tmp_path / "again", trust_remote_code=True)
    assert_same_outputs(again, loaded, batch)


def test_card_and_configuration_name_the_ranks(run_of: Callable[..., Path], tmp_path: Path) -> None:
    run, out = run_of(TINY_BERT), tmp_path / "out"
    export(run, out, 1.0)
    config = RunFolder(run).read_evaluations()[0].config
    ranks = json.loads((out / "config.json").read_text())["ranks"]
    names = {
        "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
        "attention_output": "attention.output.dense", "intermediate": "intermediate.dense",
        "feed_forward_output": "output.dense",
    }  # fmt: skip
    whole = {"intermediate": 20, "feed_forward_output": 20}  # 32 x 48 has as many weights as rank 19.2, 32 x 32 as 16
    expected = {}
    for name, rank in config.items():
        kind, _, layer = name.rpartition("_")
        if rank < whole.get(kind, 16):
            expected[f"bert.encoder.layer.{layer}.{names[kind]}"] = rank
    assert 0 < len(expected) < len(config)
    assert ranks == expected
    card = (out / "README.md").read_text()
    low, high = min(ranks.values()), max(ranks.values())
    assert f"replaced {len(ranks)} projections by products of two matrices of ranks {low} to {high}." in card
    assert re.search(r"^# .* of low rank, with \d+ % of the parameters$", card, re.MULTILINE)
    assert "- low-rank\n" in card
    assert "Its projections are products of two matrices, so transformers builds it with `modeling_pruned.py`" in card


def test_folder_needs_no_nasbench(run_of: Callable[..., Path], tmp_path: Path) -> None:
    cases, expected = [], []
    for model in (TINY_BERT, TINY_LLAMA):
        run, out = run_of(model), tmp_path / model.name
        export(run, out)
        batch = encoded(out)
        cases.append((out, "AutoModelForSequenceClassification", batch))
        with torch.no_grad():
            expected.append(multiplied_out(run)(**batch).logits)
    for found, wanted in zip(logits_alone(cases, tmp_path), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_language_model_generates(run_of: Callable[..., Path], tmp_path: Path) -> None:
    run, out = run_of(TINY_LLAMA, TINY_TEXT), tmp_path / "out"
    export(run, out, 1.0)
    loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(out, trust_remote_code=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out, trust_remote_code=True)
    prompt = tokenizer("ba ba be", return_tensors="pt")
    assert_same_outputs(loaded, multiplied_out(run), prompt)
    texts = [
        each.generate(**prompt, max_new_tokens=8, do_sample=False, use_cache=cache)
        for each, cache in ((loaded, True), (loaded, False), (multiplied_out(run), True))
    ]
    assert torch.equal(texts[0], texts[1])
    assert torch.equal(texts[0], texts[2])


def test_network_of_whole_projections_has_the_stock_class(run_of: Callable[..., Path], tmp_path: Path) -> None:
    run, out = run_of(TINY_BERT, ranks=lambda space: space.largest), tmp_path / "out"
    export(run, out, 1.0)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(out)
    assert type(loaded) is transformers.BertForSequenceClassification
    assert_same_outputs(loaded, multiplied_out(run), encoded(out))
    assert "removed nothing" in (out / "README.md").read_text()


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_rank_0_leaves_the_bias(run_of: Callable[..., Path], tmp_path: Path) -> None:
    run, out = run_of(TINY_BERT, ranks=lambda space: space.largest * (np.arange(space.n_dims) != 4)), tmp_path / "out"
    export(run, out, 1.0)
    loaded: Any = nasbench.load(out)
    assert [len(p) for p in loaded.bert.encoder.layer[0].intermediate.dense.parameters()] == [0, 48, 48]
    assert_same_outputs(loaded, multiplied_out(run), encoded(out))
    quantized(loaded, "int8")


def test_it_cannot_be_pruned_again(run_of: Callable[..., Path], tmp_path: Path) -> None:
    write_rows(tmp_path)
    export(run_of(TINY_BERT), tmp_path / "out", 1.0)
    task, model = load(tmp_path, {**BASE, "model": {"folder": "out"}})
    with pytest.raises(UserError, match="projections of this network are products of two matrices, so it cannot be"):
        load_pretrained(model, task, 0)


def test_it_is_recommended_and_quantised(run_of: Callable[..., Path], tmp_path: Path) -> None:
    run, out = run_of(TINY_BERT), tmp_path / "out"
    found = recommend(run, Limits(max_params=1.0, max_latency=1e6))
    assert all(times.pruned_ms > 0 for times in found.latency)
    export(run, out, found.evaluation.params)
    whole: Any = nasbench.load(out)
    for scheme in ("int8", "int8-weights", "int4-weights"):
        small: Any = quantized(whole, scheme)
        with torch.no_grad():
            torch.testing.assert_close(small(**encoded(out)).logits, whole(**encoded(out)).logits, atol=0.3, rtol=0.1)
