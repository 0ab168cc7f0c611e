"""Two declarations of one name are told apart, and the difference is said."""

import shutil
from pathlib import Path

import pytest
from support.user_tasks import BASE, changed, make_folder, toml

from nasbench.plugins.declaration import declaration_of, differences, digest
from nasbench.plugins.user_task import load_user_task


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    make_folder(tmp_path / "mine")
    return tmp_path / "mine"


def declared(folder: Path, tables: dict | None = None, name: str = "reviews") -> dict:
    path = folder / f"{name}.toml"
    path.write_text(toml(BASE if tables is None else tables))
    return declaration_of(*load_user_task(path))


def test_declaration_does_not_depend_on_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = declared(folder)
    monkeypatch.chdir(folder)
    assert declaration_of(*load_user_task(Path("reviews.toml"))) == first
    moved = shutil.move(folder, folder.parent / "elsewhere")
    assert declared(Path(moved)) == first
    (Path(moved) / "my model" / "README.md").write_text("a model card")
    assert digest(declared(Path(moved))) == digest(first)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_length": 20}, ["task.max_length 64, now 20"]),
        ({"budget_s": 77}, ["task.budgets.user/cpu 1500.0, now 77.0", "task.budgets.user/gpu 1500.0, now 77.0"]),
        (
            {"model": {"fine_tuning": {"learning_rate": 0.001}}},
            ["model.fine_tuning.learning_rate the default, now 0.001"],
        ),
        ({"metric": "matthews"}, ['task.metric "accuracy", now "matthews"']),
    ],
)
def test_differences_name_key_and_values(folder: Path, changes: dict, words: list[str]) -> None:
    before, after = declared(folder), declared(folder, changed(**changes))
    text = "; ".join(differences(before, after))
    for word in words:
        assert word in text
    assert digest(before) != digest(after)
    assert differences(before, before) == []


def test_changed_contents_of_data_and_weights_are_differences(folder: Path) -> None:
    before = declared(folder)
    data = folder / "rows.csv"
    data.write_text(data.read_text().replace("ko,good", "ko,bad"))
    other_data = declared(folder)
    assert differences(before, other_data) == ["the contents of rows.csv"]
    weights = folder / "my model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert differences(other_data, declared(folder)) == ["the contents of my model"]


def test_all_files_that_match_a_pattern_count(folder: Path) -> None:
    shutil.copy(folder / "rows.csv", folder / "part-1.csv")
    tables = changed(data={"train": "part-*.csv"})
    before = declared(folder, tables)
    part = folder / "part-1.csv"
    part.write_text(part.read_text().replace("ko,good", "ko,bad"))
    other = declared(folder, tables)
    assert differences(before, other) == ["the contents of part-*.csv"]
    shutil.copy(folder / "rows.csv", folder / "part-2.csv")
    assert differences(other, declared(folder, tables)) == ["the contents of part-*.csv"]
    (folder / "part-2.csv").rename(folder / "other-2.csv")
    assert declared(folder, tables) == other


@pytest.mark.parametrize(
    ("file", "name"),
    [("отзывы", "отзывы"), ("评论", "评论"), ("Bewertungen für Filme", "Bewertungen-für-Filme"), ("a\u0308", "ä")],
)
def test_names_keep_letters_of_all_scripts(folder: Path, file: str, name: str) -> None:
    path = folder / f"{file}.toml"
    path.write_text(toml(BASE))
    assert load_user_task(path)[0].name == name
