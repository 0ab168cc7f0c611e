"""Write what a verification found: the mark beside a record, and a bundle's run below the results folder."""

from __future__ import annotations

from pathlib import Path

import nasbench
from nasbench.errors import UserError
from nasbench.records.record import write_atomically
from nasbench.trust.files import RECORD, SUBMISSION, VERIFICATION, read_files
from nasbench.trust.marks import Level, Verification, record_sha256, write_mark
from nasbench.trust.rerunning import Comparison
from nasbench.trust.verifying import Verified


def level_of(verified: Verified, comparison: Comparison | None, tolerance: float) -> Level:
    """The level of a run that is not refused.

    Args:
        comparison: with a repeated run, None if it was not repeated.
    """
    if comparison is not None and not verified.is_refused and comparison.is_within(tolerance):
        return "re-run"
    return verified.level


def mark_run(folder: Path, verified: Verified, comparison: Comparison | None, tolerance: float) -> None:
    """Write the verification beside a record, and remove one that the record no longer earns.

    Raises:
        UserError: if the run is refused, or the record has changed since it was verified.
    """
    if verified.is_refused:
        raise UserError(f"{folder}: a refused run gets no mark")
    # A repetition takes as long as the run: the folder's files may be others by now.
    if record_sha256(read_files(folder)) != verified.record_sha256:
        raise UserError(f"{folder}: the record has changed since it was verified")
    if verified.level == "self-reported" and comparison is None:
        (folder / VERIFICATION).unlink(missing_ok=True)
        return
    found = Verification(
        level=level_of(verified, comparison, tolerance),
        record_sha256=verified.record_sha256,
        suite_version=nasbench.__version__,
        reproduced=None if comparison is None else comparison.is_within(tolerance),
        tolerance=None if comparison is None else tolerance,
        largest_difference=None if comparison is None else comparison.largest_difference,
        indicator=None if comparison is None else comparison.indicator,
        test_indicator=None if comparison is None else comparison.test_indicator,
        mean_test_excess=None if comparison is None else comparison.mean_test_excess,
    )
    write_mark(folder, VERIFICATION, found)


def add_run(verified: Verified, results: Path) -> Path:
    """Add a bundle's run to a results folder, in the folder that its identity names.

    Raises:
        UserError: if the run is not re-scored, or its folder exists.
    """
    if verified.level != "re-scored" or verified.expected is None:
        raise UserError(f"{verified.submitted.name} is not re-scored, so it is not added to {results}")
    # The folder's name is computed from names that the suite knows, never taken from the bundle.
    target = verified.expected.request.folder
    folder = results / target.relative_to(verified.expected.request.results_dir)
    if folder.exists():
        raise UserError(f"{folder} exists already; remove it, or name another folder with --results")
    for name in RECORD:
        if name in verified.submitted.files:
            write_atomically(folder / name, verified.submitted.files[name])
    if verified.submitted.submission is not None:
        write_mark(folder, SUBMISSION, verified.submitted.submission)
    return folder
