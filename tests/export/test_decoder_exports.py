"""Exported decoders are built by transformers alone, with the outputs of the measured network."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from support.exports import encoded, logits_alone, masks, measured

import nasbench
from nasbench.cli.main import cli
from nasbench.data.sources import read_rows
from nasbench.errors import NasbenchError, UserError
from nasbench.export import onnx_file
from nasbench.export.folder import export, export_network
from nasbench.export.predict import predict
from nasbench.networks.pretrained import load_pretrained
from nasbench.records.record import RunFolder
from nasbench.testing import decoders
from nasbench.testing.decoders import TINY_DECODERS, TINY_GPT2, TINY_GPT_NEOX, TINY_LLAMA
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_TEXT, TINY_ZERO_SHOT

MIXED, EQUAL, FULL = masks([2, 0, 4], [5, 48, 0]), masks([2, 2, 2], [11, 11, 11]), masks([4, 4, 4], [48, 48, 48])
RunOf = Callable[..., Path]


def encoded_for_decoders(folder: Path) -> dict[str, torch.Tensor]:
    batch = encoded(folder)
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


@pytest.mark.parametrize("model", TINY_DECODERS, ids=lambda model: model.name)
def test_transformers_builds_the_measured_network(model: Any, run_of: RunOf, tmp_path: Path) -> None:
    for i, config in enumerate((MIXED, EQUAL, FULL)):
        run, out = run_of([config], model=model), tmp_path / str(i)
        evaluation = export(run, out, 1.0)
        auto: Any = transformers.AutoModelForSequenceClassification
        loaded, report = auto.from_pretrained(out, trust_remote_code=True, output_loading_info=True)
        assert not any(report.values())
        assert sum(p.numel() for p in loaded.parameters()) == evaluation.n_params
        batch = encoded_for_decoders(out)
        expected = measured(run, batch)
        with torch.no_grad():
            torch.testing.assert_close(loaded(**batch).logits, expected, atol=2e-6, rtol=1e-5)
            torch.testing.assert_close(nasbench.load(out)(**batch).logits, expected, atol=2e-6, rtol=1e-5)
        takes_fewer_heads = model not in (TINY_GPT2, TINY_GPT_NEOX)
        assert (out / "modeling_decoders.py").exists() == (
            config is MIXED or (config is EQUAL and not takes_fewer_heads)
        )


def test_folder_needs_no_nasbench(run_of: RunOf, tmp_path: Path) -> None:
    loader, cases, expected = "AutoModelForSequenceClassification", [], []
    for model, heads in ((TINY_LLAMA, "groups of attention heads"), (TINY_GPT2, "attention heads")):
        run, out = run_of([MIXED], model=model), tmp_path / model.name
        export(run, out)
        batch = encoded_for_decoders(out)
        cases.append((out, loader, batch))
        expected.append(measured(run, batch))
        card = (out / "README.md").read_text()
        assert f"{loader}.from_pretrained('{out.name}', trust_remote_code=True)" in card
        assert "`modeling_decoders.py`" in card
        assert f"removed 6 of 12 {heads} and 91 of 144 feed-forward units." in card
    for found, wanted in zip(logits_alone(cases, tmp_path), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("model", [TINY_LLAMA, TINY_GPT2], ids=lambda model: model.name)
@pytest.mark.parametrize("task", [TINY_PAIR, TINY_CHOICE], ids=lambda task: task.name)
@pytest.mark.parametrize("has_types", [False, True])
def test_predictions_have_the_measured_error(
    has_types: bool, task: Any, model: Any, run_of: RunOf, tmp_path: Path
) -> None:
    """The exported tokenizer and network, on the rows of the test split. Some GPT-2s have the tokenizer of a BERT."""
    run, out = run_of([MIXED], model=model, task=task), tmp_path / "out"
    export(run, out, 1.0)
    if has_types:
        settings = json.loads((out / "tokenizer_config.json").read_text())
        settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
        (out / "tokenizer_config.json").write_text(json.dumps(settings))
    _, rows = read_rows(task, None)
    file = tmp_path / "rows.csv"
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(task.data.text_columns)
        writer.writerows(zip(*rows.texts, strict=True))
    predictions = predict(out, file)
    chosen = np.array([int(name) for name in predictions.table.column("prediction").to_pylist()])
    (evaluation,) = RunFolder(run).read_evaluations()
    assert 1 - (chosen == rows.labels).mean() == pytest.approx(evaluation.test_error)


@pytest.mark.parametrize("task", [TINY_PAIR, TINY_CHOICE], ids=lambda task: task.name)
def test_predictions_do_not_depend_on_the_side_on_which_the_tokenizer_pads(
    task: Any, run_of: RunOf, tmp_path: Path
) -> None:
    """A stock GPT-2 counts its positions from the first token, be it padding or not."""
    run, out = run_of([MIXED], model=TINY_GPT2, task=task), tmp_path / "out"
    export(run, out, 1.0)
    columns, file = task.data.text_columns, tmp_path / "rows.csv"
    rows = (",".join("ba be " + "di " * (i + j) for j in range(len(columns))) for i in range(3))
    file.write_text("\n".join([",".join(columns), *rows]))
    found = []
    for side in ("right", "left"):
        settings = json.loads((out / "tokenizer_config.json").read_text())
        (out / "tokenizer_config.json").write_text(json.dumps({**settings, "padding_side": side}))
        table = predict(out, file).table
        found.append([table.column(name).to_pylist() for name in table.column_names if name.startswith("probability")])
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)


@pytest.mark.parametrize("model", TINY_DECODERS, ids=lambda model: model.name)
def test_exported_tokenizer_ends_texts_as_the_run_did(model: Any, run_of: RunOf, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(run_of([FULL], model=model), out, 1.0)
    tokenizer, wanted = transformers.AutoTokenizer.from_pretrained(out), load_pretrained(model, TINY_PAIR, 0).tokenizer
    for texts in (("ba", "be bi"), ("", ""), ("ko",)):
        assert tokenizer(*texts)["input_ids"] == wanted(*texts)["input_ids"]
    assert json.loads((out / "config.json").read_text())["pad_token_id"] == tokenizer.pad_token_id


@pytest.mark.parametrize("config", [MIXED, FULL], ids=["mixed", "full"])
def test_head_of_a_gpt_neox_may_have_either_name_in_a_file(config: Any, run_of: RunOf, tmp_path: Path) -> None:
    """``embed_out`` in published files and older versions of transformers, ``lm_head`` in newer versions."""
    out = tmp_path / "out"
    export(run_of([config], model=TINY_GPT_NEOX, task=TINY_TEXT), out, 1.0)
    tensors = load_file(out / "model.safetensors")
    (name,) = tensors.keys() & {"embed_out.weight", "lm_head.weight"}
    head, ids = tensors.pop(name), torch.tensor([[4, 5, 6]])
    expected: Any = nasbench.load(out)
    with torch.no_grad():
        for other in ("embed_out.weight", "lm_head.weight"):
            save_file({**tensors, other: head}, out / "model.safetensors", {"format": "pt"})
            found: Any = nasbench.load(out)
            assert torch.equal(found(ids).logits, expected(ids).logits)


def test_further_chat_templates_are_exported(run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = decoders.tiny_llama

    def with_templates() -> Any:
        config, tokenizer = made()
        tokenizer.chat_template = {"default": "one", "tool_use": "two"}
        return config, tokenizer

    monkeypatch.setattr(decoders, "tiny_llama", with_templates)
    run = run_of([FULL], model=TINY_LLAMA)
    monkeypatch.setattr(onnx_file, "write_onnx", Mock(side_effect=NasbenchError("the outputs differ")))
    with pytest.raises(NasbenchError, match="the outputs differ"):
        export_network(run, tmp_path / "out", 1.0, with_latency=False, with_onnx=True)
    assert not (tmp_path / "out").exists()
    export(run, tmp_path / "out", 1.0)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "out").chat_template["tool_use"] == "two"


@pytest.mark.parametrize("model", TINY_DECODERS, ids=lambda model: model.name)
@pytest.mark.parametrize(
    "config", [MIXED, FULL, masks([0, 2, 1], [0, 48, 7])], ids=["mixed", "full", "first layer gone"]
)
def test_language_model_generates_and_gives_the_measured_error(
    config: Any, model: Any, run_of: RunOf, tmp_path: Path
) -> None:
    run, out = run_of([config], model=model, task=TINY_TEXT), tmp_path / "out"
    evaluation = export(run, out, 1.0)
    loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(out, trust_remote_code=True)
    assert sum(p.numel() for p in loaded.parameters()) == evaluation.n_params
    tokenizer = transformers.AutoTokenizer.from_pretrained(out, trust_remote_code=True)
    _, rows = read_rows(TINY_TEXT, None)
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    bits = 0.0
    with torch.no_grad():
        for text in rows.texts[0]:
            ids = torch.tensor([[start, *tokenizer(text, add_special_tokens=False)["input_ids"]]])
            bits += float(loaded(ids, labels=ids).loss) * (ids.shape[1] - 1) / np.log(2)
    assert evaluation.test_error == pytest.approx(bits / rows.labels.sum() / 8, rel=1e-4)
    prompt = tokenizer("ba ba be", return_tensors="pt")
    # With the cache and without it, the network says the same.
    texts = [loaded.generate(**prompt, max_new_tokens=8, do_sample=False, use_cache=cache) for cache in (True, False)]
    assert torch.equal(*texts)
    assert torch.equal(nasbench.load(out)(**prompt).logits, loaded(**prompt).logits)  # type: ignore[operator]
    card = (out / "README.md").read_text()
    assert "AutoModelForCausalLM.from_pretrained" in card
    assert "pipeline_tag: text-generation" in card
    assert "All numbers are compression (1 - bits per byte / 8). " in card


@pytest.mark.parametrize("model", TINY_DECODERS, ids=lambda model: model.name)
@pytest.mark.parametrize("task", [TINY_TEXT, TINY_ZERO_SHOT], ids=lambda task: task.name)
def test_card_of_a_language_model_shows_how_to_generate(
    task: Any, model: Any, run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    run = run_of([MIXED], model=model, task=task)
    done = CliRunner().invoke(cli, ["export", str(run), "--out", "out"], catch_exceptions=False)
    assert done.output.splitlines()[-1] == "out/README.md shows how to load it and generate text"
    card = Path("out/README.md").read_text()
    assert "nasbench predict" not in card
    assert "pipeline_tag: text-generation" in card
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL):
        exec(code, names)
    assert type(names["model"]).__name__.removeprefix("Pruned").endswith(("ForCausalLM", "LMHeadModel"))
    assert capsys.readouterr().out
    prompt = names["start"]["input_ids"].shape[1]
    assert prompt < names["ids"].shape[1] <= prompt + 40


def test_language_model_keeps_the_length_of_its_tokenizer(run_of: RunOf, tmp_path: Path) -> None:
    """A limit of a language model's task says nothing about the network. Classifiers cut texts as the run did."""
    for task, due in ((TINY_TEXT, 64), (TINY_PAIR, TINY_PAIR.max_length)):
        out = tmp_path / task.name
        export(run_of([FULL], model=TINY_LLAMA, task=task), out, 1.0)
        assert transformers.AutoTokenizer.from_pretrained(out).model_max_length == due


def test_language_model_predicts_no_class(run_of: RunOf, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(run_of([FULL], model=TINY_LLAMA, task=TINY_TEXT), out, 1.0)
    (tmp_path / "rows.csv").write_text("text\nba be\n")
    with pytest.raises(UserError, match="a language model, which predicts no classes; generate text"):
        predict(out, tmp_path / "rows.csv")
