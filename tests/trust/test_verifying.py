"""Verification: an honest record passes, and a changed number that a check covers does not."""

from __future__ import annotations

import os

import numpy as np
import pytest
from support.submissions import change_lines, change_run

from nasbench.errors import UserError
from nasbench.records.predictions import FILE, pack, unpack
from nasbench.records.record import RunFolder
from nasbench.trust.bundles import Submitted
from nasbench.trust.expected import Loader
from nasbench.trust.verifying import submitted_runs, verify


def outcomes(verified):
    return {each.name: each.outcome for each in verified.checks if each.outcome != "ok"}


@pytest.mark.parametrize("which", ["made", "made_regression"])
def test_an_honest_run_is_re_scored(which, request):
    made = request.getfixturevalue(which)
    verified = made.verify()
    assert outcomes(verified) == {}
    assert verified.level == "re-scored"
    assert {each.name for each in verified.checks} >= {
        *("record", "version", "status", "budget", "times", "configurations", "parameters", "errors"),
        *(
            "test results",
            "data",
            "weights",
            "identity",
            "declarations",
            "training",
            "official",
            "predictions",
            "latency",
        ),
    }


@pytest.mark.parametrize("which", ["made", "made_regression"])
@pytest.mark.parametrize("consistent", [False, True])
def test_all_errors_lowered_are_refused(which, consistent, request):
    """The case of the issue: every error is 0.4 lower (or 0). Also if the metrics are raised to fit."""
    made = request.getfixturevalue(which)
    metric = "accuracy" if which == "made" else "spearman"

    def lower(line):
        for error, metrics in (("error", "metrics"), ("test_error", "test_metrics")):
            if line[error] is not None:
                line[error] = max(0.0, line[error] - 0.4)
                if consistent:
                    line[metrics][metric] = 1 - line[error]

    verified = made.verify(lambda files: change_lines(files, lower))
    assert verified.is_refused
    assert outcomes(verified)["predictions" if consistent else "errors"] == "wrong"
    if consistent:
        assert outcomes(verified).keys() <= {"predictions", "test results"}


def test_without_predictions_a_run_stays_self_reported(made):
    verified = made.verify(lambda files: files.pop(FILE))
    assert outcomes(verified) == {"predictions": "missing"}
    assert verified.level == "self-reported"
    assert not verified.is_refused


def test_a_network_without_test_results_leaves_a_run_self_reported(made):
    """As after a test split that did not fit into memory. Nobody can tell that from a bad test error left out."""

    def left_out(files, names=("test_error", "test_metrics", "weights")):
        kept = unpack(files[FILE])
        index = max(kept)
        change_lines(files, lambda e: e.update(dict.fromkeys(names)) if e["index"] == index else None)
        return kept, index

    def honest(files):
        kept, index = left_out(files)
        del kept[index]
        files[FILE] = pack(kept)

    verified = made.verify(honest)
    assert outcomes(verified) == {"test results": "missing", "predictions": "missing"}
    assert (verified.level, verified.is_refused) == ("self-reported", False)
    seen = {each.seen for each in verified.checks if each.outcome == "missing"}
    assert seen == {f"no test results in line {max(unpack(made.verify().submitted.files[FILE])) + 1}"}
    # Any trace of a test is a contradiction.
    assert outcomes(made.verify(left_out)) == {"test results": "missing", "predictions": "wrong"}
    for names in (("test_error", "test_metrics"), ("test_error", "weights"), ("weights",)):
        assert outcomes(made.verify(lambda files, names=names: left_out(files, names)))["test results"] == "wrong"


@pytest.mark.parametrize("key", ["data_sha256", "weights_sha256"])
def test_without_hashes_a_run_stays_self_reported(made, key):
    verified = made.verify(lambda files: change_run(files, lambda record: record["provenance"].pop(key)))
    assert outcomes(verified) == {key.partition("_")[0]: "missing"}


RUN_CHANGES = {
    "version": lambda r: r.update(suite_version="99.0.0"),
    "status": lambda r: r.update(status="running"),
    "identity": lambda r: r["identity"]["options"]["method"].update(n_random=1),
    "parameters": lambda r: r.update(n_params_full=r["n_params_full"] + 1),
    "declarations": lambda r: r.update(constant_error=r["constant_error"] + 0.01),
    "data": lambda r: r["provenance"].update(data_sha256="0" * 64),
    "weights": lambda r: r["provenance"].update(weights_sha256="0" * 64),
    "training": lambda r: r["provenance"]["fine_tuning"].update(epochs=99),
    "official": lambda r: r.update(unofficial=[]),
    "budget": lambda r: r["identity"].update(max_evaluations=5),
    "times": lambda r: r["charged_s"].update(training=0.0),
    "record": lambda r: r.update(track=3),
    "names": lambda r: r["identity"].update(task="rte-2"),
}


@pytest.mark.parametrize("check", RUN_CHANGES)
def test_a_changed_field_of_the_run_is_found(made, check):
    verified = made.verify(lambda files: change_run(files, RUN_CHANGES[check]))
    assert outcomes(verified)[check] == "wrong"


LINE_CHANGES = {
    "times": lambda e: e["charged_s"].update(search=e["charged_s"]["search"] + 1),
    "configurations": lambda e: e.update(key="0" * 16),
    "parameters": lambda e: e.update(n_params=e["n_params"] - 1),
    "errors": lambda e: e.update(error=e["error"] - 1e-6),
    "test results": lambda e: e.update(test_error=None, test_metrics=None),
    "record": lambda e: e.update(error=float("1e400")),
    "latency": lambda e: e.update(latency_ms=1e9),
}


@pytest.mark.parametrize("check", LINE_CHANGES)
def test_a_changed_field_of_an_evaluation_is_found(made, check):
    verified = made.verify(lambda files: change_lines(files, LINE_CHANGES[check]))
    assert outcomes(verified)[check] == "wrong"


def test_a_disturbed_run_must_say_that_it_was(made):
    """The reason is what the run was made unofficial for; the conditions that led to it are still in the record."""
    busy = {"wall_s": 50.0, "cpu_s": 30.0, "waited_s": 20.0}

    def timed(files, *reasons):
        changes = {"unofficial": [*due, *reasons], "conditions": [busy]}
        change_run(files, lambda r: r["identity"].update(max_evaluations=None, budget_s=3600.0))
        change_run(files, lambda r: r.update(changes))

    due = []
    due = made.verify(timed).expected.record.unofficial
    found = made.verify(timed)
    assert outcomes(found) == {"official": "wrong"}
    (official,) = [each for each in found.checks if each.name == "official"]
    assert official.expected.endswith("other work on the machine")
    assert outcomes(made.verify(lambda files: timed(files, "other work on the machine took 40 % of its time"))) == {}
    busy["waited_s"] = 3.0
    assert outcomes(made.verify(timed)) == {}
    busy.update(waited_s=20.0, wall_s=29.0)
    assert outcomes(made.verify(timed)) == {}


def test_one_flipped_prediction_is_found(made):
    def flip(files):
        kept = unpack(files[FILE])
        index = min(kept)
        kept[index]["test"] = kept[index]["test"] ^ np.array([128] + [0] * (len(kept[index]["test"]) - 1), np.uint8)
        files[FILE] = pack(kept)

    assert outcomes(made.verify(flip)) == {"predictions": "wrong"}


def test_predictions_of_another_network_are_found(made):
    def swap(files):
        kept = unpack(files[FILE])
        assert len(kept) > 1
        files[FILE] = pack({index: kept[max(kept)] for index in kept})

    assert outcomes(made.verify(swap)) == {"predictions": "wrong"}


def test_a_name_twice_in_one_object_is_refused(made):
    def repeat(files):
        files[RunFolder.RUN] = files[RunFolder.RUN].replace(b"{", b'{"metric": "f1",', 1)

    assert outcomes(made.verify(repeat)) == {"record": "wrong"}


def test_a_cut_line_is_refused(made):
    def cut(files):
        files[RunFolder.EVALUATIONS] = files[RunFolder.EVALUATIONS][:-5]

    assert outcomes(made.verify(cut)) == {"record": "wrong"}


def test_the_same_run_again_is_a_duplicate(copied):
    results = copied.folder.parents[2]
    assert outcomes(verify(submitted_runs(copied.folder)[0], copied.loader, results)) == {}
    again = verify(submitted_runs(copied.bundle)[0], copied.loader, results)
    assert outcomes(again) == {"duplicates": "wrong"}


def test_a_copy_with_another_seed_is_a_duplicate(copied):
    results = copied.folder.parents[2]
    run = submitted_runs(copied.bundle)[0]
    change_run(run.files, lambda record: record["identity"].update(seed=record["identity"]["seed"] + 1))
    found = outcomes(verify(run, copied.loader, results))
    assert found["duplicates"] == "wrong"
    assert found["data"] == "wrong"  # another seed has another split


def test_a_damaged_known_run_does_not_condemn_others(copied):
    """Whoever reads the results reports it. Here it hides no duplicate, for it cannot be compared."""
    known = copied.folder.with_name(copied.folder.name.replace("seed", "seed1"))
    copied.folder.rename(known)
    record = known / RunFolder.RUN
    seed = f'"seed": {RunFolder(known).read_run().identity.seed}'
    record.write_text(record.read_text().replace(seed, '"seed": 77'))
    (known / RunFolder.EVALUATIONS).write_text("{\n")
    run = submitted_runs(copied.bundle)[0]
    assert outcomes(verify(run, copied.loader, known.parents[2])) == {}


def test_a_folder_with_another_name_is_refused(copied):
    moved = copied.folder.with_name("better_small_cpu_seed0")
    copied.folder.rename(moved)
    assert outcomes(verify(submitted_runs(moved)[0], copied.loader)) == {"folder": "wrong"}


def test_a_symbolic_link_in_a_folder_is_not_followed(copied, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("{}")
    (copied.folder / RunFolder.RUN).unlink()
    (copied.folder / RunFolder.RUN).symlink_to(secret)
    verified = verify(Submitted("linked", {}, None, copied.folder), copied.loader)
    assert outcomes(verified) == {"record": "wrong"}
    assert "symbolic link" in verified.checks[0].seen


def test_a_pipe_in_a_folder_does_not_block(copied):
    (copied.folder / FILE).unlink()
    os.mkfifo(copied.folder / FILE)
    verified = verify(Submitted("pipe", {}, None, copied.folder), copied.loader)
    assert "not a regular file" in verified.checks[0].seen


def test_missing_data_leave_a_run_self_reported(made, monkeypatch):
    def no_data(_):
        raise UserError("no data of task 'rte'")

    monkeypatch.setattr("nasbench.trust.expected.load", no_data)
    verified = verify(Submitted("x", dict(made.verify().submitted.files)), Loader())
    assert outcomes(verified) == {"data and weights": "missing", "predictions": "missing"}
