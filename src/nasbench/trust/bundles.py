"""Bundles: ZIP files in which records travel. They are read into memory with bounds; nothing is extracted or unpickled.

A bundle holds ``bundle.json`` and, for run number i, ``runs/<i>/run.json`` and the other files of its record. No other
name is accepted, so no name can lead out of a folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import nasbench
from nasbench.errors import UserError
from nasbench.export.command import command_of
from nasbench.records import schema
from nasbench.records.record import RunFolder, parse_run, write_atomically
from nasbench.trust.files import LIMITS, RECORD, FileError, Files, read_files
from nasbench.trust.marks import Author, Link, Submission, is_author, is_link, to_json

CONTENTS = "bundle.json"
MAX_RUNS = 2000
_MIB = 2**20
MAX_FILE = 1024 * _MIB
"""Largest ZIP file."""
MAX_TOTAL = 2048 * _MIB
"""Largest sum of all files in a bundle."""
_MAX_CONTENTS = 4 * _MIB
_NAME = re.compile(r"runs/(?:0|[1-9][0-9]{0,3})/([a-z.]+)")
_TIME = (1980, 1, 1, 0, 0, 0)
"""The time of every file in a bundle, so that equal runs make equal bundles."""


class BundleError(UserError):
    """A bundle that is damaged, too large, or holds something else than a bundle does."""


@dataclass(frozen=True)
class BundledRun:
    """A run in the contents of a bundle.

    Attributes:
        folder: the folder that the run had below the results folder, for readers; nothing is written there.
        command: the command that made the run.
        sha256: digest of each of its files.
    """

    folder: schema.Text
    command: schema.Text
    sha256: dict[str, str]
    __pydantic_config__: ClassVar = schema.STRICT


@dataclass(frozen=True)
class Contents:
    """``bundle.json``."""

    author: Author
    link: Link
    suite_version: schema.Name
    runs: list[BundledRun]
    schema_version: schema.Version = 1
    __pydantic_config__: ClassVar = schema.STRICT


@dataclass(frozen=True)
class Submitted:
    """A run that was submitted.

    Attributes:
        name: for messages.
        files: the files of its record.
        submission: who submitted it; None if that is not known.
        folder: its folder, None for a run of a bundle.
    """

    name: str
    files: Files
    submission: Submission | None = None
    folder: Path | None = None


def write_bundle(out: Path, runs: Sequence[Path], author: str, link: str) -> Contents:
    """Write a bundle of the records of some runs.

    Raises:
        UserError: if a run has no readable record, the author or the link cannot be shown, or there are too many runs.
    """
    if not is_author(author):
        raise UserError(f"--author is one line of at most 300 printable characters, not {author[:60]!r}")
    if not is_link(link):
        raise UserError(f"--link is a web address such as https://example.org/paper, not {link[:60]!r}")
    if len(runs) > MAX_RUNS:
        raise UserError(f"a bundle holds at most {MAX_RUNS} runs, not {len(runs)}; make several")
    members: dict[str, bytes] = {}
    bundled = []
    for number, path in enumerate(runs):
        files = read_files(path)
        if RunFolder.RUN not in files:
            raise UserError(f"{path} has no {RunFolder.RUN}; name the folder of a run")
        record = parse_run(files[RunFolder.RUN], str(path / RunFolder.RUN))
        if record.status == "running":
            raise UserError(f"{path}: the run has not ended; its command resumes it")
        folder = f"{record.identity.task}/{record.identity.model}/{path.resolve().name}"
        digests = {name: _sha256(data) for name, data in files.items()}
        bundled.append(BundledRun(folder, command_of(record), digests))
        members |= {_member(number, name): data for name, data in files.items()}
    contents = Contents(author, link, nasbench.__version__, bundled)
    _write_zip(out, {CONTENTS: to_json(dataclasses.asdict(contents)), **members})
    return contents


def _write_zip(out: Path, members: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    write_atomically(out, buffer.getbuffer())


def read_bundle(path: Path) -> list[Submitted]:
    """The runs of a bundle, in its order.

    Raises:
        BundleError: if the bundle is not as :func:`write_bundle` writes it.
        RecordError: if its list of runs is not.
        FileError: if the bundle cannot be read.
    """
    try:
        if path.stat().st_size > MAX_FILE:
            raise BundleError(f"{path}: larger than {MAX_FILE:,} bytes; make several bundles")
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
    except UserError:
        raise
    except Exception as error:  # a damaged archive can raise anything
        raise BundleError(f"{path}: cannot be read as a bundle ({type(error).__name__}: {error})") from error
    if CONTENTS not in members:
        raise BundleError(f"{path}: no {CONTENTS}; 'nasbench submit' writes bundles")
    contents = schema.parse(Contents, members.pop(CONTENTS), CONTENTS)
    due = {
        _member(number, name): digest for number, run in enumerate(contents.runs) for name, digest in run.sha256.items()
    }
    if set(due) != set(members):
        odd = sorted(set(due) ^ set(members))[0]
        raise BundleError(f"{path}: {CONTENTS} and the files disagree about {odd[:60]!r}")
    for name, digest in due.items():
        if _sha256(members[name]) != digest:
            raise BundleError(f"{path}: {name} is not the file that {CONTENTS} names; it has changed")
    return [
        Submitted(
            name=f"run {number} ({run.folder})",
            files={name: members[_member(number, name)] for name in run.sha256},
            submission=Submission(contents.author, contents.link, run.command),
        )
        for number, run in enumerate(contents.runs)
    ]


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """The files of an archive by name. What an entry says about its size is not believed."""
    entries = archive.infolist()
    if len(entries) > MAX_RUNS * len(RECORD) + 1:
        raise BundleError(f"the bundle has {len(entries):,} files; it may hold {MAX_RUNS} runs")
    found: dict[str, bytes] = {}
    total = 0
    for entry in entries:
        name = entry.filename
        if name in found:
            raise BundleError(f"the bundle has {name[:60]!r} twice")
        limit = _limit(name)
        if not stat.S_ISREG(entry.external_attr >> 16) and entry.external_attr >> 16:
            raise BundleError(f"{name}: no regular file, but perhaps a symbolic link")
        if entry.flag_bits & 1:
            raise BundleError(f"{name}: encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BundleError(f"{name}: compressed by another method than deflate")
        with archive.open(entry) as file:
            data = file.read(min(limit, MAX_TOTAL - total) + 1)
        if len(data) > min(limit, MAX_TOTAL - total):
            raise FileError(f"{name}: larger than {min(limit, MAX_TOTAL - total):,} bytes")
        total += len(data)
        found[name] = data
    return found


def _limit(name: str) -> int:
    """The largest size of a file of a bundle. Raises :class:`BundleError` for a name that no bundle has."""
    if name == CONTENTS:
        return _MAX_CONTENTS
    found = _NAME.fullmatch(name)
    if found is None or found.group(1) not in RECORD:
        raise BundleError(
            f"the bundle has a file {name[:60]!r}; a bundle holds {CONTENTS} and runs/<number>/run.json etc."
        )
    return LIMITS[found.group(1)]


def _member(number: int, name: str) -> str:
    return f"runs/{number}/{name}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
