"""Lines survive a kill at once, and a power failure once they are flushed: at most once a second."""

import json
import os
import subprocess
import sys

import pytest

from nasbench.errors import NasbenchError
from nasbench.records import progress
from nasbench.records.lines import FLUSH_INTERVAL_S, Lines
from nasbench.records.schema import RecordError


@pytest.fixture
def flushes(monkeypatch):
    """Descriptors of the files that were flushed; folders do not count."""
    found = []
    monkeypatch.setattr(os, "fsync", found.append)
    monkeypatch.setattr(progress, "sync_folder", lambda _: None)
    return found


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def _n_noted(folder):
    """Numbers of written and of flushed lines."""
    values = json.loads((folder / progress.FILE).read_text())
    return values["n_evaluations"], values["flushed"][0]


def _check(folder, data):
    progress.check_whole(folder / "lines", data, progress.read_written(folder), None, None)


def test_a_thousand_lines_a_second_are_flushed_once_a_second(tmp_path, flushes):
    clock = Clock()
    lines = Lines(tmp_path / "lines", b"", clock)
    n = 3_000
    for i in range(n):
        lines.append(b"%d\n" % i)
        assert lines.tally.n_lines == i + 1
        clock.now += 0.001
    assert len(flushes) == 3  # the first line, and after one and two seconds
    assert (tmp_path / "lines").read_bytes() == b"".join(b"%d\n" % i for i in range(n))
    assert _n_noted(tmp_path)[0] == n
    assert 2_000 <= _n_noted(tmp_path)[1] <= 2_002
    lines.flush()
    assert len(flushes) == 4
    assert _n_noted(tmp_path) == (n, n)


def test_slow_lines_are_flushed_one_by_one(tmp_path, flushes):
    clock = Clock()
    lines = Lines(tmp_path / "lines", b"", clock)
    for i in range(5):
        lines.append(b"x\n")
        clock.now += FLUSH_INTERVAL_S
        assert len(flushes) == i + 1
        assert _n_noted(tmp_path) == (i + 1, i + 1)


def test_no_line_is_lost_when_the_process_is_killed(tmp_path):
    code = (
        "import os, pathlib, signal\n"
        "from nasbench.records.lines import Lines\n"
        f"lines = Lines(pathlib.Path({str(tmp_path / 'lines')!r}), b'', lambda: 0.0)\n"
        "for i in range(50): lines.append(b'%d\\n' % i)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    data = (tmp_path / "lines").read_bytes()
    assert data.split() == [b"%d" % i for i in range(50)]
    assert _n_noted(tmp_path) == (50, 1)
    _check(tmp_path, data)


def test_after_a_power_failure_only_flushed_lines_must_be_there(tmp_path, monkeypatch):
    lines = Lines(tmp_path / "lines", b"", lambda: 0.0)
    for i in range(5):
        lines.append(b"%d\n" % i)
    with pytest.raises(RecordError, match="4 of 5 evaluations are lost"):
        _check(tmp_path, b"0\n")
    monkeypatch.setattr(progress, "_boot", lambda: "the machine has started again")
    for left in (b"0\n", b"0\n1\n2", b"0\n1\n2\n3\n4\n"):
        _check(tmp_path, left)
    with pytest.raises(RecordError, match="1 of 1 evaluations are lost"):
        _check(tmp_path, b"")
    with pytest.raises(RecordError, match="have changed"):
        _check(tmp_path, b"7\n1\n")


def test_progress_of_an_older_version_names_every_line(tmp_path, monkeypatch):
    tally = progress.Tally(b"0\n1\n")
    values = {"n_evaluations": 2, "n_bytes": 4, "sha256": tally.sha256}
    (tmp_path / progress.FILE).write_text(json.dumps(values))
    monkeypatch.setattr(progress, "_boot", lambda: "another")
    _check(tmp_path, b"0\n1\n")
    with pytest.raises(RecordError, match="1 of 2 evaluations are lost"):
        _check(tmp_path, b"0\n")


def test_line_that_cannot_be_flushed_is_taken_back_and_the_others_stay(tmp_path, monkeypatch):
    clock = Clock()
    lines = Lines(tmp_path / "lines", b"", clock)
    lines.append(b"first\n")
    lines.append(b"second\n")

    def full(_):
        raise OSError(28, "No space left on device")

    clock.now += FLUSH_INTERVAL_S
    monkeypatch.setattr(os, "fsync", full)
    for work in (lambda: lines.append(b"third\n"), lines.flush):
        with pytest.raises(NasbenchError, match=r"cannot write .*lines: No space left on device; once that is mended"):
            work()
    assert (tmp_path / "lines").read_bytes() == b"first\nsecond\n"
    assert lines.tally.n_lines == 2


def test_a_resumed_run_counts_on_from_whole_lines(tmp_path):
    (tmp_path / "lines").write_bytes(b"a\nb\n")
    lines = Lines(tmp_path / "lines", b"a\nb\ncut")
    lines.append(b"c\n")
    assert (lines.tally.n_lines, lines.tally.n_bytes) == (3, 6)
    assert lines.tally.sha256 == progress.Tally(b"a\nb\nc\n").sha256
