"""Verify a submitted run: all checks in order, and the level that they amount to."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nasbench
from nasbench.errors import NasbenchError, UserError, in_one_line
from nasbench.networks.space import SearchSpace, make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.records.record import Evaluation, RunFolder, RunRecord, find_runs, parse_evaluations, parse_run
from nasbench.records.schema import RecordError
from nasbench.trust.bundles import Submitted, read_bundle
from nasbench.trust.checks import Check, Wrong, check, record_checks, shown
from nasbench.trust.expected import Expected, Loader, NotAvailable
from nasbench.trust.files import SUBMISSION, read_files
from nasbench.trust.marks import Level, Submission, mark_of, record_sha256
from nasbench.trust.rescoring import declaration_checks, hash_checks, prediction_checks

UNEXPECTED = "cannot be checked"
"""Begins what is seen where a check failed in a way that nobody foresaw. The record is refused then."""
_MOST_BITS = 10**7
"""Most heads and units of a network whose dimensions only the record states."""


@dataclass(frozen=True)
class Verified:
    """The verification of one run.

    Attributes:
        record, evaluations: None and empty if they cannot be read.
        checks: in the order in which they were made.
        expected: what the record must say; None where data or weights are not available.
        record_sha256: digest of the files that were verified, see :func:`~nasbench.trust.marks.record_sha256`; empty if
            the verification ended before all checks were made.
    """

    submitted: Submitted
    checks: tuple[Check, ...]
    record: RunRecord | None = None
    evaluations: tuple[Evaluation, ...] = ()
    expected: Expected | None = None
    record_sha256: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether any check found something wrong."""
        return any(each.outcome == "wrong" for each in self.checks)

    @property
    def level(self) -> Level:
        """``re-scored`` if every check was made and none found anything wrong."""
        return "re-scored" if all(each.outcome == "ok" for each in self.checks) else "self-reported"


def submitted_runs(path: Path) -> list[Submitted]:
    """The runs of a bundle, of a run's folder, or of all runs below a folder.

    Raises:
        UserError: if there is no such file or no run in it.
    """
    if path.is_file():
        return read_bundle(path)
    if not path.is_dir():
        raise UserError(f"no run and no bundle {path}; name the folder of a run, or a file of 'nasbench submit'")
    folders = find_runs(path, follow_links=False)
    if not folders:
        raise UserError(f"no run below {path}; a run's folder has a {RunFolder.RUN}")
    return [Submitted(str(folder), {}, mark_of(folder).submission, folder) for folder in folders]


def verify(submitted: Submitted, loader: Loader, results: Path | None = None) -> Verified:
    """Make all checks of a run that do not repeat it.

    Args:
        results: the folder of known runs, for the search for duplicates; None skips the search.
    """
    checks: list[Check] = []
    try:
        return _verify(submitted, loader, results, checks)
    except Exception as error:  # noqa: BLE001 - a stranger's record must not stop the verification of others
        checks.append(Check("record", "wrong", "can be checked", f"{UNEXPECTED}: {in_one_line(error)}"))
        return Verified(submitted, tuple(checks))


def _verify(submitted: Submitted, loader: Loader, results: Path | None, checks: list[Check]) -> Verified:
    try:
        files = submitted.files or read_files(_folder(submitted))
        record, evaluations = _parsed(files)
    except (RecordError, NasbenchError) as error:
        checks.append(Check("record", "wrong", f"schema of nasbench {nasbench.__version__}", str(error)))
        return Verified(submitted, tuple(checks))
    checks.append(Check("record", "ok", "readable, every field of its type", f"schema {record.schema_version}"))
    checks.append(check("version", f"of nasbench, at most {nasbench.__version__}", lambda: _version(record)))
    if submitted.folder is not None:
        checks.append(check("folder", *_place(record, submitted.folder)))
        checks.append(_author(submitted))
    expected = None
    try:
        expected = loader.expected(record)
    except NotAvailable as error:
        checks.append(Check("data and weights", "missing", "available here", str(error)))
    except NasbenchError as error:
        checks.append(Check("names", "wrong", "known to the suite", str(error)))
        return Verified(submitted, tuple(checks), record, tuple(evaluations))
    space = _space(record, expected)
    if space is None:
        checks.append(Check("dimensions", "wrong", "those of a network", shown(record.dimensions)))
        return Verified(submitted, tuple(checks), record, tuple(evaluations))
    checks += record_checks(record, evaluations, space)
    if results is not None:
        checks.append(
            check(
                "duplicates", f"no run like it in {results}", lambda: _unique(record, evaluations, submitted, results)
            )
        )
    checks += hash_checks(record, expected)
    if expected is not None:
        checks += declaration_checks(record, expected)
    checks += prediction_checks(record, evaluations, files, expected)
    return Verified(submitted, tuple(checks), record, tuple(evaluations), expected, record_sha256(files))


def _folder(submitted: Submitted) -> Path:
    if submitted.folder is None:
        raise UserError(f"{submitted.name}: no files")
    return submitted.folder


def _parsed(files: dict[str, bytes]) -> tuple[RunRecord, list[Evaluation]]:
    """The record, if every reader of JSON reads the same in it."""
    for name in (RunFolder.RUN, RunFolder.EVALUATIONS):
        if name not in files:
            raise RecordError(f"no {name}")
    record = parse_run(files[RunFolder.RUN], RunFolder.RUN)
    data = files[RunFolder.EVALUATIONS]
    if data and not data.endswith(b"\n"):
        raise RecordError(f"{RunFolder.EVALUATIONS}: the last line is cut off")
    evaluations = list(parse_evaluations(data, RunFolder.EVALUATIONS))
    whole = (record.n_evaluations, record.evaluations_sha256)
    if whole not in ((None, None), (len(evaluations), hashlib.sha256(data).hexdigest())):
        raise RecordError(f"{RunFolder.EVALUATIONS}: not the lines whose number and checksum {RunFolder.RUN} has")
    for text in (files[RunFolder.RUN], *data.split(b"\n")[:-1]):
        _refuse_repeated_names(text)
    return record, evaluations


def _refuse_repeated_names(text: bytes) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise RecordError("an object has a name twice, and readers disagree which one counts")
        return found

    try:
        json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"readers of JSON disagree about it ({type(error).__name__})") from error


def _version(record: RunRecord) -> str:
    seen = record.suite_version
    found = re.fullmatch(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:[.+-]?[a-z0-9.]{1,20})?", seen)
    own = re.match(r"(\d+)\.(\d+)\.(\d+)", nasbench.__version__)
    assert own is not None, "the suite's own version has three numbers"
    if found is None or tuple(map(int, found.groups())) > tuple(map(int, own.groups())):
        raise Wrong(shown(seen))
    return seen


def _place(record: RunRecord, folder: Path) -> tuple[str, Any]:
    names = {record.identity.folder(changed, official) for changed in (False, True) for official in (False, True)}

    def look() -> str:
        seen = "/".join(folder.resolve().parts[-3:])
        if seen not in names:
            raise Wrong(seen)
        return seen

    return "task, model and name of the identity", look


def _author(submitted: Submitted) -> Check:
    by: Submission | None = submitted.submission
    if by is None and submitted.folder is not None and (submitted.folder / SUBMISSION).exists():
        return Check("author", "wrong", f"{SUBMISSION} of its form", "it cannot be read")
    return Check(
        "author", "ok", "an author and a link, if submitted by others", "-" if by is None else f"{by.author}, {by.link}"
    )


def _space(record: RunRecord, expected: Expected | None) -> SearchSpace | None:
    """The run's space, for the dimensions of its model or, where that is not available, for those of the record."""
    try:
        if expected is not None:
            return make_space(record.identity.space, expected.dims)
        dims = Dimensions.from_json(record.dimensions)
        if not 0 < dims.n_layers * (dims.n_heads + dims.n_units) <= _MOST_BITS or dims.n_params >= 2**62:
            return None
        return make_space(record.identity.space, dims)
    except (TypeError, UserError):
        return None


def _unique(record: RunRecord, evaluations: Sequence[Evaluation], submitted: Submitted, results: Path) -> str:
    own = submitted.folder.resolve() if submitted.folder is not None else None
    n = 0
    for path, other in _known(results):
        if path.resolve() == own or (other.task, other.model) != (record.identity.task, record.identity.model):
            continue
        n += 1
        if other == record.identity:
            raise Wrong(f"{path} is the same run")
        try:
            times = {e.elapsed_s for e in RunFolder(path).read_evaluations()}
        except RecordError:
            continue  # as in _known
        n_same = sum(e.elapsed_s in times for e in evaluations)
        if n_same >= min(3, len(evaluations)):
            raise Wrong(f"{n_same} of {len(evaluations)} evaluations ended at the same nanosecond as in {path}")
    return f"compared with {n} runs"


def _known(results: Path) -> Iterator[tuple[Path, Any]]:
    for path in find_runs(results, follow_links=False) if results.is_dir() else []:
        try:
            yield path, RunFolder(path).read_run().identity
        except RecordError:
            continue  # a damaged record is reported by whoever reads the results
