"""``nasbench export --format onnx``: onnxruntime computes the outputs of the measured network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner

import nasbench
from nasbench.cli.main import cli
from nasbench.errors import NasbenchError, UserError
from nasbench.export import onnx_file
from nasbench.testing.decoders import TINY_GPT2
from nasbench.testing.models import TINY_BERT, TINY_DEBERTA_V2, TINY_MODERNBERT, TINY_ROBERTA
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR

RunOf = Callable[..., Path]


@pytest.mark.parametrize(
    ("model", "task"),
    [
        *((model, task) for model in (TINY_BERT, TINY_ROBERTA) for task in (TINY_PAIR, TINY_CHOICE)),
        (TINY_MODERNBERT, TINY_PAIR),
        (TINY_DEBERTA_V2, TINY_PAIR),
    ],
    ids=lambda each: each.name,
)
def test_onnxruntime_computes_the_outputs_of_the_network(model: Any, task: Any, run_of: RunOf, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="no onnx: pip install -e '.[onnx]'")
    onnxruntime = pytest.importorskip("onnxruntime", reason="no onnxruntime: pip install -e '.[onnx]'")
    run, out = run_of([[2, 0, 4, 5, 48, 0]], space="medium", model=model, task=task), tmp_path / "out"
    arguments = ["export", str(run), "--out", str(out), "--format", "onnx"]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert f"wrote {out / 'model.onnx'}" in done.output
    tokenizer = transformers.AutoTokenizer.from_pretrained(out, trust_remote_code=True)
    session = onnxruntime.InferenceSession(str(out / "model.onnx"))
    ignored = {"token_type_ids"} if model is TINY_DEBERTA_V2 else set()
    names = [entry.name for entry in session.get_inputs()]
    assert names == [name for name in tokenizer.model_input_names if name not in ignored]
    network: Any = nasbench.load(out)
    for texts in (["ba be"], ["ba be bi", "ko", "di da de di"]):
        if task.kind == "multiple_choice":
            pairs = [texts, ["ba", "ko ki"]]
            flat = tokenizer(
                [a for a in texts for _ in pairs[1]], pairs[1] * len(texts), padding=True, return_tensors="pt"
            )
            inputs = {name: value.reshape(len(texts), 2, -1) for name, value in flat.items()}
        else:
            inputs = dict(tokenizer(texts, texts, padding=True, return_tensors="pt"))
        (found,) = session.run(None, {name: inputs[name].numpy() for name in names})
        with torch.no_grad():
            np.testing.assert_allclose(found, network(**inputs).logits.numpy(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("model", [TINY_BERT, TINY_GPT2], ids=lambda model: model.name)
def test_network_without_layers_has_only_the_inputs_that_it_reads(model: Any, run_of: RunOf, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="no onnx: pip install -e '.[onnx]'")
    onnxruntime = pytest.importorskip("onnxruntime", reason="no onnxruntime: pip install -e '.[onnx]'")
    arguments = ["export", str(run_of([[0, 0, 0]], space="small", model=model)), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, [*arguments, "--format", "onnx"], catch_exceptions=False)
    assert "model.onnx: its outputs agree with the network's" in done.output
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    assert "attention_mask" not in [entry.name for entry in session.get_inputs()]


def test_other_outputs_are_refused(run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx", reason="no onnx: pip install -e '.[onnx]'")
    pytest.importorskip("onnxruntime", reason="no onnxruntime: pip install -e '.[onnx]'")
    run = run_of([[1, 3, 1]], space="small")
    nasbench.Run(run).export(tmp_path / "out")
    monkeypatch.setattr(onnx_file, "run_onnx", lambda *_: np.full((1, 2), 7.0))
    with pytest.raises(NasbenchError, match=r"the outputs of .*model\.onnx differ from the network's by"):
        onnx_file.write_onnx(nasbench.load(tmp_path / "out"), ["input_ids", "attention_mask"], tmp_path)
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("is_new", [True, False])
def test_the_same_command_works_after_a_failure(
    is_new: bool, run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx", reason="no onnx: pip install -e '.[onnx]'")
    pytest.importorskip("onnxruntime", reason="no onnxruntime: pip install -e '.[onnx]'")
    monkeypatch.setattr("nasbench.export.latency._SECONDS", 0.0)
    out = tmp_path / "out"
    if not is_new:
        out.mkdir()
    arguments = ["export", str(run_of([[1, 3, 1]], space="small")), "--out", str(out), "--format", "onnx"]
    with monkeypatch.context() as patch:
        patch.setattr(onnx_file, "run_onnx", lambda *_: np.full((1, 2), 7.0))
        failed = CliRunner().invoke(cli, arguments)
    assert "differ from the network's by" in str(failed.exception)
    assert out.exists() != is_new
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert f"wrote {out / onnx_file.FILE}: its outputs agree with the network's" in done.output


def test_missing_libraries_are_named_before_anything_is_written(
    run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    arguments = ["export", str(run_of([[1, 3, 1]], space="small")), "--out", str(tmp_path / "out"), "--format", "onnx"]
    done = CliRunner().invoke(cli, arguments)
    assert isinstance(done.exception, UserError)
    assert str(done.exception) == (
        "--format onnx needs onnx and onnxruntime; install them with pip install 'nasbench-plm[onnx]'"
    )
    assert not (tmp_path / "out").exists()
