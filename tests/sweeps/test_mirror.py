"""Runs whose files are kept at a URL: a lost machine's run goes on elsewhere."""

from __future__ import annotations

import socket
import tarfile
from pathlib import Path

import pytest
from support.sweeping import Scene, one_after_the_other, records

from nasbench.errors import NasbenchError, UserError
from nasbench.records.record import RunFolder
from nasbench.runs import session
from nasbench.sweeps import mirror as module
from nasbench.sweeps.mirror import Mirror, is_url
from nasbench.sweeps.reporter import Reporter
from nasbench.sweeps.worker import carry_out
from nasbench.testing.subject import Killed


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A folder with the files of a run."""
    folder = tmp_path / "local"
    (folder / "weights").mkdir(parents=True)
    for name, text in (
        ("run.json", "{}"),
        ("evaluations.jsonl", "1\n"),
        ("weights/a.bin", "a" * 30_000),
        (".lock", ""),
        (".holder", '{"host": "lost", "process": 1}'),
    ):
        (folder / name).write_text(text)
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_url() -> None:
    assert is_url("s3://bucket/runs")
    assert is_url("file:///shared/runs")
    assert not is_url("runs")
    assert not is_url("/shared/runs")
    with pytest.raises(UserError, match="--results nothing://runs"):
        Mirror("nothing://runs", "a/b/c")


def test_there_and_back(local: Path, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/remote"
    expected = {name: text for name, text in contents(local).items() if not name.startswith(".")}
    Mirror(url, "a/b").push(local, 0.0)
    remote = tmp_path / "remote" / "a" / "b"
    assert sorted(contents(remote)) == ["moment-000000.tar", "run.json"]
    Mirror(url, "a/b").fetch(tmp_path / "back")
    assert contents(tmp_path / "back") == expected

    mirror = Mirror(url, "a/b")
    mirror.push_ended(local)
    assert contents(remote) == expected
    mirror.fetch(tmp_path / "again")
    assert contents(tmp_path / "again") == expected
    Mirror(url, "nothing/yet").fetch(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_files_of_a_failed_attempt_do_not_stay(local: Path, tmp_path: Path) -> None:
    mirror = Mirror(f"file://{tmp_path}/remote", "a/b")
    mirror.push_ended(local)
    (local / "weights" / "a.bin").unlink()
    mirror.push_ended(local)
    assert sorted(contents(tmp_path / "remote" / "a" / "b")) == ["evaluations.jsonl", "run.json"]


def test_archives_follow_each_other_in_an_interval(local: Path, tmp_path: Path) -> None:
    mirror = Mirror(f"file://{tmp_path}/remote", "a/b")
    seen = []
    for elapsed_s in (0.0, 1.0, module.PUSH_INTERVAL_S - 1, module.PUSH_INTERVAL_S, 2 * module.PUSH_INTERVAL_S - 1):
        mirror.push(local, elapsed_s)
        seen.append([path.name for path in (tmp_path / "remote" / "a" / "b").glob("*.tar")])
    assert seen == [["moment-000000.tar"]] * 3 + [["moment-000001.tar"]] * 2


def test_a_cut_archive_gives_way_to_the_one_before(local: Path, tmp_path: Path) -> None:
    """A machine can be lost at any byte of writing the next archive."""
    url = f"file://{tmp_path}/remote"
    Mirror(url, "a/b").push(local, 0.0)
    remote = tmp_path / "remote" / "a" / "b"
    old = (remote / "moment-000000.tar").read_bytes()
    (local / "evaluations.jsonl").write_text("1\n2\n")
    again = Mirror(url, "a/b")
    again.fetch(tmp_path / "first")
    again.push(local, 0.0)
    new = (remote / "moment-000001.tar").read_bytes()
    (remote / "moment-000000.tar").write_bytes(old)
    seen = set()
    for n_bytes in [0, 1, 511, 512, 1024, 10_240, 30_720, 31_744, 32_256, 32_768, 33_280, len(new)]:
        (remote / "moment-000001.tar").write_bytes(new[:n_bytes])
        back = tmp_path / f"back {n_bytes}"
        Mirror(url, "a/b").fetch(back)
        assert set(contents(back)) == {"run.json", "evaluations.jsonl", "weights/a.bin"}
        seen.add((back / "evaluations.jsonl").read_text())
    assert seen == {"1\n", "1\n2\n"}


@pytest.mark.parametrize("name", ["../outside", "absolute", "weights/../../outside", "link"])
def test_an_archive_with_anything_but_files_of_the_run_is_not_unpacked(local: Path, tmp_path: Path, name: str) -> None:
    url = f"file://{tmp_path}/remote"
    Mirror(url, "a/b").push(local, 0.0)
    with tarfile.open(tmp_path / "remote" / "a" / "b" / "moment-000001.tar", "w") as tar:
        tar.add(local / "run.json", "run.json")
        member = tarfile.TarInfo(str(tmp_path / "outside") if name == "absolute" else name)
        if name == "link":
            member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(member)
    before = set(tmp_path.rglob("*"))
    Mirror(url, "a/b").fetch(tmp_path / "back")
    assert set(contents(tmp_path / "back")) == {"run.json", "evaluations.jsonl", "weights/a.bin"}  # of the one before
    new = set(tmp_path.rglob("*")) - before
    assert all(tmp_path / "back" in (path, *path.parents) for path in new)
    assert not (tmp_path / "outside").exists()


def test_a_mirror_that_cannot_be_written_is_one_line(local: Path, tmp_path: Path) -> None:
    (tmp_path / "remote").write_text("not a folder")
    with pytest.raises(NasbenchError, match="cannot write file://"):
        Mirror(f"file://{tmp_path}/remote", "a/b").push_ended(local)


@pytest.mark.parametrize(("method", "kill_each"), [("s-nas", 25), ("ws-nas", 5)])
def test_a_run_goes_on_where_the_last_archive_was(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, kill_each: int
) -> None:
    """Killed again and again, each time on another machine: its temporary folder is gone, and only the URL is left."""
    monkeypatch.setattr(socket, "gethostname", lambda: f"machine-{n_kills}")
    monkeypatch.setattr(module, "PUSH_INTERVAL_S", 0.0)
    monkeypatch.setattr(session, "CHECKPOINT_INTERVAL_S", 0.0)
    n_kills = 0
    (job,) = scene.jobs([method], 1, [0], max_evaluations=5)
    one_after_the_other([job], tmp_path / "expected")
    url = f"file://{tmp_path}/remote"

    events: list[str] = []

    def count(name: str) -> None:
        nonlocal n_kills
        events.append(name)
        if len(events) % kill_each == 0 or (name == "evaluated" and events.count(name) == 2):
            n_kills += 1
            raise Killed

    monkeypatch.setattr(Mirror, "push_archive_now", lambda *_: None)  # a killed process does not get to this
    for name in ("training", "evaluated"):
        usual = getattr(Reporter, name)

        def counting(self: Reporter, *arguments: object, usual: object = usual, name: str = name) -> None:
            usual(self, *arguments)  # type: ignore[operator]
            count(name)

        monkeypatch.setattr(Reporter, name, counting)
    reports: list = []
    for _ in range(100):
        try:
            outcome = carry_out(job, url, "cpu", 1, reports.append)
            break
        except Killed:
            continue
    assert outcome["status"] == "complete", outcome
    assert n_kills >= 3
    assert records(tmp_path / "remote") == records(tmp_path / "expected")
    starts = [report["n_resumed"] for report in reports if report.get("phase") == "started"]
    assert starts == sorted(starts)
    assert starts[-1] > 0
    run = RunFolder(tmp_path / "remote" / job.folder)
    assert run.read_run().status == "complete"
    elapsed = [line.elapsed_s for line in run.read_evaluations()]
    assert elapsed == sorted(elapsed)
    assert carry_out(job, url, "cpu", 1, reports.append)["status"] == "complete"  # not made again
