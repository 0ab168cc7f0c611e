"""A DeBERTa-v3 as its authors published it: half precision, a pre-training head, and a tokenizer of SentencePiece."""

from __future__ import annotations

import dataclasses
import io
import json
import random
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
import transformers

from nasbench.errors import UserError
from nasbench.networks.pretrained import load_pretrained
from nasbench.plugins import registry
from nasbench.testing.models import tiny_deberta_v2
from nasbench.testing.tasks import TINY_PAIR

MODEL = dataclasses.replace(registry.models()["deberta-v3-base"], track="user")
SPECIAL = {"pad": "[PAD]", "bos": "[CLS]", "eos": "[SEP]", "unk": "[UNK]"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pretended hub with the files of a tiny network, under the names of the published ones."""
    folder, cache = tmp_path / "hub", tmp_path / "cache"
    folder.mkdir()
    draw, model = random.Random(0), io.BytesIO()
    ids: dict[str, Any] = {f"{name}_id": i for i, name in enumerate(SPECIAL)}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(draw.choices(["ba", "be", "bi", "da", "do", "ko"], k=6)) for _ in range(200)]),
        model_writer=model, vocab_size=17, minloglevel=2, **ids, **{f"{name}_piece": SPECIAL[name] for name in SPECIAL},
    )  # fmt: skip
    (folder / "spm.model").write_bytes(model.getvalue())
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "vocab_type": "spm"}))
    config, _ = tiny_deberta_v2()
    network: Any = transformers.AutoModelForMaskedLM.from_config(config)
    tensors = {name.replace("cls.", "lm_predictions."): value.half() for name, value in network.state_dict().items()}
    torch.save(tensors, folder / "pytorch_model.bin")
    values = {name: value for name, value in config.to_dict().items() if name not in ("architectures", "dtype")}
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "README.md").write_text("not needed")

    def download(repository: str, *, revision: str, allow_patterns: list[str]) -> str:
        assert (repository, revision) == (MODEL.hub_id, MODEL.revision)
        cache.mkdir(exist_ok=True)
        for path in folder.iterdir():
            if any(fnmatch(path.name, pattern) for pattern in allow_patterns):
                shutil.copy(path, cache)
        return str(cache)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return folder


def test_published_files_are_loaded(hub: Path) -> None:
    loaded = load_pretrained(MODEL, TINY_PAIR, 0)
    assert loaded.output_is_new
    published = torch.load(hub / "pytorch_model.bin")
    for name, value in loaded.network.state_dict().items():
        if name.startswith("deberta."):
            torch.testing.assert_close(value, published[name].float(), rtol=0, atol=0)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(hub / "spm.model"))
    for first, second in (("ba be ko", "do"), ("da", "bi ba bi")):
        cls, sep = pieces.bos_id(), pieces.eos_id()
        expected = [cls, *pieces.encode(first), sep, *pieces.encode(second), sep]
        assert loaded.tokenizer(first, second)["input_ids"] == expected
    assert loaded.tokenizer.pad_token_id == 0


def test_missing_library_is_named(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.exists()
    monkeypatch.setattr("transformers.utils.import_utils.is_sentencepiece_available", lambda: False)
    with pytest.raises(UserError, match=r"is a SentencePiece model; pip install 'nasbench-plm\[sentencepiece\]' to"):
        load_pretrained(MODEL, TINY_PAIR, 0)
