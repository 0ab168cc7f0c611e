"""What an isolated method may read of the system where records or data lie in folders of the system."""

import dataclasses

import pytest
from support.user_tasks import changed, make_folder, toml

from nasbench.isolation import running, sandbox
from nasbench.isolation.sandbox import Protections, system_paths
from nasbench.plugins.user_task import load_user_task


def test_folder_of_the_system_that_holds_hidden_ones_is_given_without_them(tmp_path, monkeypatch):
    """As in a container: an environment, code, data and records below /opt."""
    system, library, prefix = tmp_path / "opt", tmp_path / "usr", tmp_path / "opt" / "env"
    for folder in ("env/bin", "app/code", "app/runs/task", "data"):
        (system / folder).mkdir(parents=True)
    library.mkdir()
    (system / "app" / "linked").symlink_to(system / "data")
    monkeypatch.setattr(sandbox, "_SYSTEM_PATHS", (str(system), str(library)))
    monkeypatch.setattr(sandbox.sys, "prefix", str(prefix))
    monkeypatch.setattr(sandbox.sys, "base_prefix", str(prefix))
    given = set(system_paths([system / "app" / "runs", system / "data"]))
    assert given == {str(system / "app" / "code"), str(prefix), str(library)}
    assert set(system_paths([])) == {str(system), str(prefix), str(library)}
    # Python itself stays readable where everything around it is hidden.
    assert set(system_paths([system])) == {str(prefix), str(library)}


def test_each_protection_that_is_missing_has_a_phrase_of_its_own():
    whole = Protections("no network", files=True, processes=True, scratch=True)
    assert whole.missing == []
    lacking = [
        dataclasses.replace(whole, **{name: value})
        for name, value in (("network", "open"), ("files", False), ("processes", False), ("scratch", False))
    ]
    assert [len(held.missing) for held in lacking] == [1, 1, 1, 1]
    assert len({*(held.missing[0] for held in lacking)}) == 4


def test_data_of_a_users_own_task_are_hidden(tmp_path):
    make_folder(tmp_path)
    task = tmp_path / "mine.toml"
    task.write_text(toml(changed()))
    assert running._own_files(str(task)) == [tmp_path / "rows.csv"]
    task.write_text(toml(changed(data={"train": "rows*.csv"})))
    assert running._own_files(load_user_task(task)[0]) == [tmp_path]
    assert running._own_files("rte") == []


def test_caches_and_the_usual_folder_of_data_are_hidden(tmp_path, monkeypatch):
    """They hold texts of the test split, and may lie below a folder of the system, as in many containers."""
    seen = []

    def child(_plugins, hidden, _memory_bytes):
        seen.extend(hidden)
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "Child", child)
    for variable in ("NASBENCH_CACHE_DIR", "NASBENCH_DATA_DIR", "HF_DATASETS_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    for name in ("HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", str(tmp_path / name))
    with pytest.raises(KeyboardInterrupt), running.isolated("mine", "demo", results=tmp_path / "runs"):
        pass
    names = {"runs", "NASBENCH_CACHE_DIR", "NASBENCH_DATA_DIR", "HF_DATASETS_CACHE", "HF_HOME", "HF_HUB_CACHE"}
    assert set(seen) == {tmp_path / name for name in names}
