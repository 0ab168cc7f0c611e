from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from nasbench.cli.terminal import plan
from nasbench.errors import UnknownName, UserError
from nasbench.plugins import registry
from nasbench.plugins.registry import PluginError
from nasbench.records.record import Identity, RunRecord

GOOD_METHOD = """
from nasbench.plugins.method import Method

class Mine(Method):
    name = "mine"
    summary = "does nothing"

    def run(self, problem):
        pass
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the import path. After the test, its modules are unloaded."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(("outside_", "nasbench_plugin_")):
            del sys.modules[name]


def advertise(monkeypatch: pytest.MonkeyPatch, group: str, **points: str) -> None:
    """Pretend that installed packages advertise these entry points."""
    found = [EntryPoint(name.replace("_", "-"), value, group) for name, value in points.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: [point for point in found if point.group == group])


def test_searchers_of_the_suite_are_found_by_name() -> None:
    found = registry.searchers()
    assert {"random", "local"} <= set(found)
    assert all(found[name].name == name for name in found)
    assert all(registry.ships(found[name]) for name in found)
    assert found.place("random") == "nasbench.methods.random_search"


def test_find_suggests_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match=r"unknown searcher 'randon'; did you mean 'random'\?"):
        registry.find("searcher", "randon", registry.searchers())


def test_plugin_file_is_imported_once_and_is_no_part_of_the_suite(package: Path) -> None:
    file = package / "mine.py"
    file.write_text(GOOD_METHOD)
    cls = registry.methods((file,))["mine"]
    assert cls is registry.methods((file,))["mine"]
    assert not registry.ships(cls)


def test_plugin_files_with_the_same_stem_are_kept_apart(package: Path) -> None:
    files = []
    for folder in ("a", "b"):
        (package / folder).mkdir()
        files.append(package / folder / "plugin.py")
        files[-1].write_text(GOOD_METHOD.replace("mine", f"mine-{folder}"))
    assert {"mine-a", "mine-b"} <= set(registry.methods(tuple(files)))


@pytest.mark.parametrize("name", ["missing.py", "notes.txt"])
def test_load_file_rejects_missing_or_other_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match="no plugin file"):
        registry.methods((tmp_path / name,))


@pytest.mark.parametrize("text", ["1 / 0", "def broken(:", "import no_such_module", "raise SystemExit(0)"])
def test_load_file_names_plugin_that_cannot_be_imported(package: Path, text: str) -> None:
    file = package / "broken.py"
    file.write_text(text)
    with pytest.raises(PluginError, match=r"broken\.py cannot be imported") as caught:
        registry.methods((file,))
    assert caught.value.exit_code == 1
    assert "nasbench_plugin_broken" not in sys.modules


def test_methods_rejects_class_without_name(package: Path) -> None:
    file = package / "nameless.py"
    file.write_text(GOOD_METHOD.replace('name = "mine"', ""))
    with pytest.raises(PluginError, match="class Mine has no name"):
        registry.methods((file,))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("summary = None", "class Mine has no summary"),
        ("spaces = ('small', 'huge')", r"class Mine has spaces = \('small', 'huge'\); give a tuple of some of small"),
        ("spaces = ()", "class Mine has spaces = "),
        ("Options = dict", "class Mine has Options that are not a dataclass"),
        (
            "Options = dataclasses.make_dataclass('O', [('x', int)])",
            "Options whose defaults a record cannot hold .*missing",
        ),
        (
            "Options = dataclasses.make_dataclass('O', [('x', float, float('inf'))])",
            "Options whose defaults a record cannot hold as JSON: Out of range",
        ),
    ],
)
def test_look_up_rejects_invalid_declaration(package: Path, line: str, message: str) -> None:
    file = package / "odd.py"
    file.write_text(
        "import dataclasses\n" + GOOD_METHOD.replace('summary = "does nothing"', f'summary = "x"\n    {line}')
    )
    with pytest.raises(PluginError, match=message):
        registry.methods((file,))["mine"]


def test_entry_point_is_imported_only_when_looked_up(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "outside_good.py").write_text(GOOD_METHOD)
    advertise(monkeypatch, "nasbench.methods", mine="outside_good:Mine")
    found = registry.methods()
    assert "mine" in found
    assert "outside_good" not in sys.modules
    assert found["mine"].summary == "does nothing"
    assert found.place("mine") == "entry point outside_good:Mine"


def test_plan_of_a_run_does_not_import_the_package_of_its_method(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An isolated method's package runs code when it is imported, and the view of its run is in the harness."""
    (package / "outside_good.py").write_text(GOOD_METHOD)
    advertise(monkeypatch, "nasbench.methods", mine="outside_good:Mine")
    identity = Identity("rte", "tiny", "small", "mine", None, {}, 0, "cpu", 200.0)
    record = RunRecord(identity, "1", "demo", "accuracy", 1, {})
    assert plan(record, 60.0) == ["time: 1:00 min; loading, test errors and records are extra"]
    assert "outside_good" not in sys.modules
    assert not registry.methods().is_of_suite("mine")
    assert registry.methods().is_of_suite("ws-nas")
    assert not registry.methods().is_of_suite("nothing")


def test_broken_package_does_not_affect_others(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "outside_broken.py").write_text("raise RuntimeError('no licence')")
    (package / "outside_good.py").write_text(GOOD_METHOD)
    advertise(monkeypatch, "nasbench.methods", bad="outside_broken:Bad", mine="outside_good:Mine")
    found = registry.methods()
    assert {"bad", "mine"} <= set(found)
    assert found["mine"].name == "mine"
    with pytest.raises(PluginError, match=r"plugin 'bad' .* cannot be imported: RuntimeError\('no licence'\)"):
        found["bad"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mine", "outside_good:NOT_A_CLASS", "is not a subclass of Method"),
        ("mine", "outside_good:missing", "cannot be imported"),
        ("other", "outside_good:Mine", "calls itself 'mine'"),
    ],
)
def test_look_up_rejects_entry_point_that_is_not_as_advertised(
    package: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    (package / "outside_good.py").write_text(GOOD_METHOD + "\nNOT_A_CLASS = 3\n")
    advertise(monkeypatch, "nasbench.methods", **{name: value})
    with pytest.raises(PluginError, match=message):
        registry.methods()[name]


def test_duplicate_name_fails_only_when_looked_up(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "outside_good.py").write_text(GOOD_METHOD)
    file = package / "mine.py"
    file.write_text(GOOD_METHOD)
    advertise(monkeypatch, "nasbench.methods", mine="outside_good:Mine")
    found = registry.methods((file,))
    with pytest.raises(PluginError, match=r"2 methods are called 'mine': .*mine\.py and entry point outside_good:Mine"):
        found["mine"]
    assert registry.searchers((file,))["random"].name == "random"


def test_entry_point_may_not_reuse_a_name_of_the_suite(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "outside_search.py").write_text(
        "from nasbench.search.searcher import Searcher\nclass Random(Searcher):\n    name = 'random'\n"
    )
    advertise(monkeypatch, "nasbench.searchers", random="outside_search:Random")
    with pytest.raises(PluginError, match="2 searchers are called 'random'"):
        registry.searchers()["random"]


def test_task_from_entry_point_is_found_and_is_no_part_of_the_suite(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "outside_task.py").write_text(
        "from nasbench.declarations.task import DataSource, Task\n"
        "ok = Task('ok', 'theirs', 'classification', 2, 'accuracy', DataSource(('text',)), {}, {})\n"
        "wrong = 3\n"
    )
    advertise(
        monkeypatch, "nasbench.tasks", ok="outside_task:ok", wrong="outside_task:wrong", misnamed="outside_task:ok"
    )
    found = registry.tasks()
    assert found["ok"].summary == "theirs"
    assert not registry.ships(found["ok"])
    with pytest.raises(PluginError, match="is not a Task"):
        found["wrong"]
    with pytest.raises(PluginError, match="calls itself 'ok'"):
        found["misnamed"]
