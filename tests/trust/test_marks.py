"""Marks beside a record, and the commands that write them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from support.submissions import change_lines

from nasbench.analysis.reading.results import read_results
from nasbench.errors import UserError
from nasbench.records.predictions import FILE
from nasbench.records.record import RunFolder, find_runs
from nasbench.trust import rerunning
from nasbench.trust.bundles import read_bundle, write_bundle
from nasbench.trust.files import SUBMISSION, VERIFICATION, read_files
from nasbench.trust.marks import is_author, is_link, mark_of

AUTHOR, LINK = "Ada Lovelace", "https://example.org/paper"


def test_the_whole_way_of_a_submission(nasbench, made, tmp_path):
    """submit, verify, verify --write into an empty results folder: the record arrives with author and mark."""
    out = nasbench("submit", str(made.folder), "--out", "bundle.zip", "--author", AUTHOR, "--link", LINK)
    assert (out.code, out.err) == (0, "")
    seen = nasbench("verify", "bundle.zip", "--results", "results")
    assert seen.code == 0, seen
    assert "1 re-scored" in seen.out
    assert not (tmp_path / "results").exists()
    assert nasbench("verify", "bundle.zip", "--results", "results", "--write").code == 0
    (run,) = [path.parent for path in (tmp_path / "results").rglob("run.json")]
    assert run.parts[-3:] == made.folder.parts[-3:]
    assert read_files(run) == read_files(made.folder)
    mark = mark_of(run)
    assert (mark.level, mark.submission.author, mark.submission.link) == ("re-scored", AUTHOR, LINK)
    assert mark.submission.command.startswith("nasbench run --method ws-nas --searcher random --task tiny-pair")
    runs = read_results(tmp_path / "results").runs
    assert runs[["level", "author", "link"]].to_numpy().tolist() == [["re-scored", AUTHOR, LINK]]
    again = nasbench("verify", "bundle.zip", "--results", "results", "--write")
    assert again.code == 1
    assert "is the same run" in again.out


def test_a_run_that_cannot_be_added_does_not_stop_those_after_it(nasbench, made, tmp_path):
    """The first bundle has no predictions, so its run stays self-reported."""
    bare = tmp_path / "bare" / made.folder.name
    shutil.copytree(made.folder, bare)
    (bare / FILE).unlink()
    write_bundle(tmp_path / "bare.zip", [bare], AUTHOR, LINK)
    seen = nasbench("verify", "bare.zip", str(made.bundle), "--results", "results", "--write")
    assert seen.code == 1
    assert "not written: " in seen.out
    assert "is not re-scored, so it is not added to results" in " ".join(seen.out.split())
    assert "1 re-scored, 1 self-reported" in seen.out
    assert len(list((tmp_path / "results").rglob("run.json"))) == 1


def test_an_edited_record_loses_its_mark(nasbench, copied):
    results = str(copied.folder.parents[2])
    assert nasbench("verify", str(copied.folder), "--results", results, "--write").code == 0
    assert mark_of(copied.folder).level == "re-scored"
    path = copied.folder / RunFolder.RUN
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"notes": []', b'"notes": ["edited"]'))
    assert path.read_bytes() != before
    mark = mark_of(copied.folder)
    assert (mark.level, mark.note) == ("self-reported", "the record has changed since it was verified")
    found = read_results(copied.folder.parents[2])
    assert "the record has changed since it was verified; it counts as self-reported" in found.warnings[0]
    path.write_bytes(before)
    assert mark_of(copied.folder).level == "re-scored"


def test_a_repeated_run_is_marked_re_run(nasbench, copied, tmp_path):
    (copied.folder / FILE).unlink()  # a record of an older version
    results = str(copied.folder.parents[2])
    seen = nasbench("verify", str(copied.folder), "--results", results, "--rerun", "--rerun-in", "again", "--write")
    assert seen.code == 0, seen
    mark = mark_of(copied.folder)
    assert mark.level == "re-run"
    assert (mark.verification.reproduced, mark.verification.largest_difference) == (True, 0.0)
    assert list((tmp_path / "again").rglob("run.json"))


@pytest.mark.parametrize(("tolerance", "code", "end"), [("0.03", 0, "1 re-run"), ("0.01", 1, "1 re-scored")])
def test_the_tolerance_decides_on_a_repetition(nasbench, copied, monkeypatch, tolerance, code, end):
    def repeated(_record, n_evaluations, *_):
        lines = RunFolder(copied.folder).read_evaluations()
        assert n_evaluations == len(lines)
        return [dataclasses.replace(e, error=e.error + 0.02) for e in lines]

    monkeypatch.setattr(rerunning, "rerun", repeated)
    folder, results = str(copied.folder), str(copied.folder.parents[2])
    seen = nasbench("verify", folder, "--results", results, "--rerun", "--tolerance", tolerance)
    assert seen.code == code, seen
    assert f"[expected: within {tolerance}, validation and test]" in seen.out
    assert ("WRONG    repeated front" in seen.out) == (code == 1)
    assert seen.out.splitlines()[-1] == end


@pytest.mark.parametrize("name", [RunFolder.RUN, RunFolder.EVALUATIONS, FILE])
def test_a_record_that_changes_while_it_is_repeated_gets_no_mark(nasbench, copied, monkeypatch, name):
    def repeated(*_):
        lines = RunFolder(copied.folder).read_evaluations()
        path = copied.folder / name
        path.write_bytes(path.read_bytes() + b"\n")
        return lines

    monkeypatch.setattr(rerunning, "rerun", repeated)
    folder, results = str(copied.folder), str(copied.folder.parents[2])
    seen = nasbench("verify", folder, "--results", results, "--rerun", "--write")
    assert seen.code == 1
    assert "not written: " in seen.out
    assert "the record has changed since it was verified" in " ".join(seen.out.split())
    assert not (copied.folder / VERIFICATION).exists()


def test_a_refused_run_gets_no_mark(nasbench, copied):
    files = read_files(copied.folder)
    change_lines(files, lambda e: e.update(error=max(0.0, e["error"] - 0.4)))
    for name, data in files.items():
        (copied.folder / name).write_bytes(data)
    seen = nasbench("verify", str(copied.folder), "--results", str(copied.folder.parents[2]), "--write")
    assert seen.code == 1
    assert "WRONG    errors: line " in seen.out
    assert "[expected: error = 1 - accuracy]" in seen.out
    assert "1 refused" in seen.out
    assert not (copied.folder / VERIFICATION).exists()


def test_verifying_again_without_predictions_removes_the_mark(nasbench, copied):
    results = str(copied.folder.parents[2])
    nasbench("verify", str(copied.folder), "--results", results, "--write")
    (copied.folder / FILE).unlink()
    assert nasbench("verify", str(copied.folder), "--results", results, "--write").code == 1
    assert not (copied.folder / VERIFICATION).exists()


def test_every_committed_mark_counts():
    """Also those of older versions."""
    results = Path(__file__).parents[2] / "results"
    marks = {path: mark_of(path) for path in find_runs(results)}
    assert {path: mark.note for path, mark in marks.items() if mark.level == "self-reported"} == {}
    (repeated,) = [mark.verification for mark in marks.values() if mark.level == "re-run"]
    assert (repeated.reproduced, repeated.test_indicator) == (True, None)


@pytest.mark.parametrize("contents", ["{", "[]", '{"level": "re-run"}', "[" * 10**5, "\0", '{"level": 1e999}'])
def test_a_damaged_mark_counts_as_none(copied, contents):
    (copied.folder / VERIFICATION).write_text(contents)
    assert mark_of(copied.folder).level == "self-reported"
    assert mark_of(copied.folder).note


def test_a_hostile_author_or_link_is_refused(copied):
    good = {"author": AUTHOR, "link": LINK, "command": "nasbench run"}
    (copied.folder / SUBMISSION).write_text(json.dumps(good))
    submission = mark_of(copied.folder).submission
    assert (submission.author, submission.link) == (AUTHOR, LINK)
    for name, value in (("author", "a\nb"), ("link", "javascript:alert(1)"), ("link", "https://x.org/)[x](http://y")):
        (copied.folder / SUBMISSION).write_text(json.dumps({**good, name: value}))
        assert mark_of(copied.folder).submission is None
    assert is_author("Zo\u00eb <zoe@example.org> | lab")  # shown escaped
    assert not is_author("\u202egpj.exe\u202c")
    assert is_link("https://example.org/a_b?c=d&e=f#g")
    assert not is_link('https://example.org/"onclick=1')


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--author", "a\tb", "--link", LINK], "--author is one line"),
        (["--author", AUTHOR, "--link", "ftp://x"], "--link is a web address"),
    ],
)
def test_submit_refuses_what_cannot_be_shown(nasbench, made, arguments, message):
    out = nasbench("submit", str(made.folder), "--out", "b.zip", *arguments)
    assert out.code == 2
    assert message in out.err


def test_submit_refuses_a_folder_without_runs_and_an_existing_file(nasbench, made, tmp_path):
    (tmp_path / "empty").mkdir()
    more = ["--author", AUTHOR, "--link", LINK]
    assert "no run below empty" in nasbench("submit", "empty", "--out", "b.zip", *more).err
    (tmp_path / "b.zip").write_text("")
    assert "b.zip exists already" in nasbench("submit", str(made.folder), "--out", "b.zip", *more).err


def test_equal_runs_make_equal_bundles(made, tmp_path):
    for name in ("a.zip", "b.zip"):
        write_bundle(tmp_path / name, [made.folder], AUTHOR, LINK)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    (run,) = read_bundle(tmp_path / "a.zip")
    assert run.files == read_files(made.folder)


def test_verify_says_what_it_takes(nasbench):
    assert "no run and no bundle nothing" in nasbench("verify", "nothing").err
    for option in (("--tolerance", "0.1"), ("--rerun-in", "again")):
        seen = nasbench("verify", "nothing", *option)
        assert (seen.code, seen.err) == (2, f"error: {option[0]} goes with --rerun\n")


def test_a_run_that_is_named_twice_is_bundled_once(nasbench, made):
    more = ["--out", "b.zip", "--author", AUTHOR, "--link", LINK]
    seen = nasbench("submit", str(made.folder), str(made.folder.parent), *more)
    assert "wrote b.zip: 1 runs" in seen.out


def test_a_file_that_is_no_bundle_is_one_line(nasbench, tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 no archive")
    seen = nasbench("verify", "x.zip")
    assert (seen.code, seen.err.count("\n")) == (2, 1)
    assert "x.zip: cannot be read as a bundle" in seen.err


def test_submit_refuses_a_run_that_has_not_ended(copied):
    path = copied.folder / RunFolder.RUN
    path.write_text(path.read_text().replace('"complete"', '"running"'))
    with pytest.raises(UserError, match="has not ended"):
        write_bundle(copied.folder / "b.zip", [copied.folder], AUTHOR, LINK)
