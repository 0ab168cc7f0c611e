"""Mutated bundles: no crash, nothing written, and no changed number that a check covers is accepted.

``make test`` tries a sample; ``make soak`` sets ``NASBENCH_MUTATIONS`` to 10,000.
"""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.bundle_mutations import (
    LINES,
    RUN,
    mutate_bytes,
    mutate_predictions,
    mutate_record,
    rename_digests,
    zipped,
)
from support.examples import same_examples

from nasbench.errors import UserError
from nasbench.records.front import front_of
from nasbench.records.record import RunFolder
from nasbench.trust.bundles import read_bundle
from nasbench.trust.verifying import UNEXPECTED, verify

N_MUTATIONS = int(os.environ.get("NASBENCH_MUTATIONS", "60"))


def covered(files):
    """The numbers of a record that the checks cover."""
    record, evaluations = RunFolder(files).read_run(), RunFolder(files).read_evaluations()
    origin = record.provenance
    return {
        "identity": dataclasses.asdict(record.identity),
        "full": (record.n_params_full, record.dimensions, record.track, record.metric, record.constant_error),
        "unofficial": record.unofficial,
        "hashes": (origin["data_sha256"], origin["weights_sha256"], origin["fine_tuning"], origin["super_network"]),
        "front": [
            (e.index, e.key, round(e.error, 8), round(e.test_error, 8), round(e.params, 11), e.metrics.keys())
            for e in front_of(evaluations)
        ],
        "metrics": [
            {name: round(value, 8) for name, value in both.items()}
            for e in front_of(evaluations)
            for both in (e.metrics, e.test_metrics)
        ],
    }


def networks_of(folder):
    """What the lines say about each network, in order. Several configurations may name one network."""
    lines = RunFolder(folder).read_evaluations()
    return [(e.key, e.n_params, e.head_counts, e.unit_counts) for e in lines]


def outcome(made, data: bytes, folder: Path) -> str:
    """Verify a bundle as a stranger sent it. Fails if it crashes or accepts a changed number."""
    path = folder / "bundle.zip"
    path.write_bytes(data)
    before = sorted(folder.rglob("*"))
    try:
        runs = read_bundle(path)
    except UserError:
        return "not read"
    finally:
        assert sorted(folder.rglob("*")) == before
    found = [verify(run, made.loader) for run in runs]
    for verified in found:
        assert not any(each.seen.startswith(UNEXPECTED) for each in verified.checks), verified.checks
    if not found or any(verified.is_refused for verified in found):
        return "refused"
    if any(verified.level == "self-reported" for verified in found):
        return "self-reported"
    for verified in found:
        accepted = folder / "accepted"
        accepted.mkdir(exist_ok=True)
        for name in (RunFolder.RUN, RunFolder.EVALUATIONS):
            (accepted / name).write_bytes(verified.submitted.files[name])
        assert covered(accepted) == covered(made.folder)
        # Lines may be missing at the end, if none of them is on the front: a run may end earlier.
        networks, own = networks_of(accepted), networks_of(made.folder)
        assert networks == own[: len(networks)]
        for name in (RunFolder.RUN, RunFolder.EVALUATIONS):
            (accepted / name).unlink()
        accepted.rmdir()
    return "accepted"


ARCHIVES = ("reorder", "link", "name", "twice", "bomb", "pipe", "comment", "cut", "flip", "sizes", "front")


def test_mutated_bundles_neither_crash_nor_pass(made, tmp_path, capsys):
    with zipfile.ZipFile(made.bundle) as archive:
        whole = {name: archive.read(name) for name in archive.namelist()}
    ends: Counter[str] = Counter()

    @given(data=st.data())
    @settings(
        same_examples, max_examples=N_MUTATIONS, derandomize=N_MUTATIONS <= 1000, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def mutate(data):
        members, how = dict(whole), "plain"
        kind = data.draw(st.sampled_from(["record", "record", "bytes", "predictions", "archive", "archive"]))
        if kind == "archive":
            how = data.draw(st.sampled_from(ARCHIVES))
        else:
            {"record": mutate_record, "bytes": mutate_bytes, "predictions": mutate_predictions}[kind](
                data.draw, members
            )
            if kind == "record" or data.draw(st.integers(0, 9)):
                changed_lines = members[LINES] != whole[LINES]
                rename_digests(members, changed_lines and data.draw(st.sampled_from([True, True, False])))
        ends[outcome(made, zipped(data.draw, members, how), tmp_path)] += 1

    mutate()
    assert {"not read", "refused"} <= ends.keys()
    if N_MUTATIONS > 1000:
        assert {"accepted", "self-reported"} <= ends.keys()
        with capsys.disabled():
            print(f"\n{sum(ends.values()):,} mutated bundles: {dict(ends)}")  # noqa: T201


def test_the_bundle_itself_is_accepted(made, tmp_path):
    assert outcome(made, made.bundle.read_bytes(), tmp_path) == "accepted"


@pytest.mark.parametrize(
    ("how", "drawn", "message"),
    [
        ("link", None, f"{RUN}: no regular file, but perhaps a symbolic link"),
        ("pipe", None, "runs/1/run.json: no regular file, but perhaps a symbolic link"),
        ("name", "../evil", r"the bundle has a file '\.\./evil'"),
        ("twice", None, f"the bundle has '{RUN}' twice"),
        ("bomb", False, "runs/1/run.json: larger than 4,194,304 bytes"),
        ("cut", 200, "cannot be read as a bundle"),
    ],
)
def test_odd_archives_are_refused_for_what_is_odd(made, tmp_path, how, drawn, message):
    with zipfile.ZipFile(made.bundle) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    path = tmp_path / "bundle.zip"
    path.write_bytes(zipped(lambda _: drawn, members, how))
    with pytest.raises(UserError, match=message):
        read_bundle(path)
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("how", ["plain", "reorder", "comment"])
def test_harmless_archives_are_accepted(made, tmp_path, how):
    with zipfile.ZipFile(made.bundle) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def drawn(_):
        return b"a comment" if how == "comment" else [*reversed(members)]

    data = zipped(drawn, members, how)
    assert (data == zipped(drawn, members, "plain")) == (how == "plain")
    assert outcome(made, data, tmp_path) == "accepted"
