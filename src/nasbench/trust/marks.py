"""Two small files beside a record: who submitted it, and how far it was verified.

``verification.json`` names the digest of the record that it is about. An edited record has another digest, so it loses
its mark. Reading marks needs no torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Predicate, doc

from nasbench.errors import UserError
from nasbench.records import schema
from nasbench.records.predictions import FILE as PREDICTIONS
from nasbench.records.record import RunFolder, write_atomically
from nasbench.trust.files import SUBMISSION, VERIFICATION, Files, read_files

Level = Literal["self-reported", "re-scored", "re-run"]
LEVELS: tuple[Level, ...] = ("self-reported", "re-scored", "re-run")
"""From the weakest to the strongest."""

_LONGEST = 300


def is_author(text: str) -> bool:
    """Whether a text can stand as an author: one line of printable characters."""
    return 0 < len(text) <= _LONGEST and text.isprintable() and text == text.strip()


def is_link(text: str) -> bool:
    """Whether a text is a web address that can stand in Markdown and HTML as it is."""
    return (
        len(text) <= _LONGEST
        and text.startswith(("https://", "http://"))
        and text.isascii()
        and text.isprintable()
        and not set(text) & set(" <>\"'`()[]{}|\\^")
    )


Author = Annotated[str, Predicate(is_author), doc(f"one line of at most {_LONGEST} printable characters")]
Link = Annotated[str, Predicate(is_link), doc("a web address (https://...) without brackets, quotes and blanks")]


@dataclass(frozen=True)
class Submission:
    """Who submitted a record, where that person can be reached or the method is described, and the run's command."""

    author: Author
    link: Link
    command: schema.Text
    schema_version: schema.Version = 1
    __pydantic_config__: ClassVar = schema.STRICT


@dataclass(frozen=True)
class Verification:
    """What a verification of a record found.

    Attributes:
        level: ``re-scored`` or ``re-run``; ``self-reported`` if a repeated run did not agree.
        record_sha256: digest of the record, see :func:`record_sha256`.
        suite_version: version of nasbench that verified it.
        reproduced: whether a repeated run gave the same errors within the tolerance; None if it was not repeated.
        tolerance: the tolerance of that comparison.
        largest_difference: largest difference of the errors of networks on the front that both runs evaluated.
        indicator: how much worse the repeated front is, in error or size (the additive epsilon indicator).
        test_indicator, mean_test_excess: the same of its test errors, see
            :class:`~nasbench.trust.rerunning.Comparison`; None in older marks, which do not compare them.
    """

    level: Literal["self-reported", "re-scored", "re-run"]
    record_sha256: schema.Name
    suite_version: schema.Name
    reproduced: bool | None = None
    tolerance: schema.Number | None = None
    largest_difference: schema.Number | None = None
    indicator: schema.Number | None = None
    test_indicator: schema.Number | None = None
    mean_test_excess: schema.Number | None = None
    schema_version: schema.Version = 1
    __pydantic_config__: ClassVar = schema.STRICT


@dataclass(frozen=True)
class Mark:
    """What the leaderboard shows about a record.

    Attributes:
        level: ``self-reported`` without a verification, or if the record has changed since.
        note: why a verification does not count; empty otherwise.
    """

    level: Level = "self-reported"
    submission: Submission | None = None
    verification: Verification | None = None
    note: str = ""


def record_sha256(files: Mapping[str, bytes]) -> str:
    """Digest of a record: the run, its evaluations and its predictions."""
    digest = hashlib.sha256()
    for name in (RunFolder.RUN, RunFolder.EVALUATIONS, PREDICTIONS):
        data = files.get(name)
        digest.update(f"{name} {'-' if data is None else len(data)}\n".encode() + (data or b""))
    return digest.hexdigest()


def mark_of(folder: Path) -> Mark:
    """The mark of a run's folder. A damaged file counts as none."""
    try:
        files = read_files(folder, (SUBMISSION, VERIFICATION))
        submission = _parsed(Submission, files, SUBMISSION)
        verification = _parsed(Verification, files, VERIFICATION)
        if verification is None:
            return Mark(submission=submission)
        if verification.record_sha256 != record_sha256(read_files(folder)):
            return Mark(submission=submission, note="the record has changed since it was verified")
        return Mark(verification.level, submission, verification)
    except UserError as error:
        return Mark(note=str(error))


def write_mark(folder: Path, name: str, contents: Submission | Verification) -> None:
    """Write one of the two files atomically.

    Raises:
        NasbenchError: if the file cannot be written.
    """
    write_atomically(folder / name, to_json(dataclasses.asdict(contents)))


def to_json(value: Any) -> bytes:
    """A value as the small files hold it."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _parsed(cls: type[Any], files: Files, name: str) -> Any:
    return schema.parse(cls, files[name], name) if name in files else None
