"""Keep a run's files at a URL, for machines that share no folder.

While a run is going on, the URL holds one archive of all its files, so that what another machine fetches is always one
moment of the run. Files written one by one could mix two moments: a checkpoint with evaluations that are older. When
the run has ended, its files lie at the URL as they would in a folder, and the archive is removed.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from nasbench.errors import NasbenchError, UserError
from nasbench.records.record import RunFolder
from nasbench.records.resume import HOLDER, LOCK

PUSH_INTERVAL_S = 300.0
"""Charged seconds between two archives: at most these are repeated on another machine."""
_ARCHIVE = "moment-{:06}.tar"


def is_url(results: str) -> bool:
    """Whether results go to a URL of fsspec (``s3://bucket/runs``) and not to a folder."""
    return "://" in results


class Mirror:
    """The files of one run at a URL.

    Args:
        results: the URL of the results.
        folder: of the run, below it.

    Raises:
        UserError: if there is no package for this kind of URL, or it cannot be reached.
    """

    def __init__(self, results: str, folder: str) -> None:
        import fsspec

        try:
            self._files, root = fsspec.core.url_to_fs(results)
        except (ImportError, ValueError) as error:
            raise UserError(f"--results {results}: {error}") from error
        self._root = PurePosixPath(root) / folder
        self.url = f"{results.rstrip('/')}/{folder}"
        self._n_pushed = 0
        self._pushed_s: float | None = None

    def fetch(self, folder: Path) -> None:
        """Copy the run's files to a local folder: the last moment of an open run, or the files of an ended one."""
        try:
            archives = self._archives()
            for archive in reversed(archives):
                self._n_pushed = max(self._n_pushed, _number(archive) + 1)
                if self._unpack(archive, folder):
                    return
            if self._files.exists(str(self._root / RunFolder.RUN)):
                self._files.get(f"{self._root}/", f"{folder}/", recursive=True)
        except OSError as error:
            raise NasbenchError(f"cannot read {self.url}: {error}") from error

    def fetch_record(self, folder: Path) -> None:
        """Copy only ``run.json``."""
        try:
            if self._files.exists(str(self._root / RunFolder.RUN)):
                folder.mkdir(parents=True, exist_ok=True)
                self._files.get_file(str(self._root / RunFolder.RUN), str(folder / RunFolder.RUN))
        except OSError as error:
            raise NasbenchError(f"cannot read {self.url}: {error}") from error

    def push(self, folder: Path, elapsed_s: float) -> None:
        """Put an archive of the folder at the URL, unless the last one is younger than :data:`PUSH_INTERVAL_S`."""
        if self._pushed_s is not None and elapsed_s - self._pushed_s < PUSH_INTERVAL_S:
            return
        self._push_archive(folder)
        self._pushed_s = elapsed_s

    def push_archive_now(self, folder: Path) -> None:
        """Put an archive of the folder at the URL, however young the last one is."""
        if (folder / RunFolder.RUN).exists():
            self._push_archive(folder)

    def push_ended(self, folder: Path) -> None:
        """Put the files of a run that has ended at the URL, ``run.json`` last, and remove the archives."""
        try:
            wanted = {self._root / path.relative_to(folder).as_posix(): path for path in _files(folder)}
            for remote, path in wanted.items():
                self._put(path, remote)
            self._files.invalidate_cache()
            for old in self._files.find(str(self._root)):
                if PurePosixPath(old) not in wanted:  # archives, and files of an attempt that failed
                    self._files.rm_file(old)
        except OSError as error:
            raise NasbenchError(f"cannot write {self.url}: {error}") from error

    def _push_archive(self, folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="nasbench-") as temporary:
            local = Path(temporary) / "moment.tar"
            with tarfile.open(local, "w") as tar:
                for path in _files(folder):
                    tar.add(path, arcname=path.relative_to(folder).as_posix(), recursive=False)
            try:
                old = self._archives()
                self._put(local, self._root / _ARCHIVE.format(self._n_pushed))
                self._put(folder / RunFolder.RUN, self._root / RunFolder.RUN)
                for archive in old:
                    self._files.rm_file(archive)
            except OSError as error:
                raise NasbenchError(f"cannot write {self.url}: {error}") from error
        self._n_pushed += 1

    def _unpack(self, archive: str, folder: Path) -> bool:
        """Fetch an archive and unpack it. Returns whether it was whole: a killed machine can leave a part of one."""
        with tempfile.TemporaryDirectory(prefix="nasbench-") as temporary:
            local = Path(temporary) / "moment.tar"
            self._files.get_file(archive, str(local))
            try:
                with tarfile.open(local) as tar:
                    if RunFolder.RUN not in tar.getnames():  # the last file; this reads to the end
                        return False
                    folder.mkdir(parents=True, exist_ok=True)
                    _extract(tar, folder)
            except tarfile.TarError:
                return False
        return True

    def _archives(self) -> list[str]:
        self._files.invalidate_cache()
        return sorted(self._files.glob(str(self._root / "moment-*.tar")))

    def _put(self, local: Path, remote: PurePosixPath) -> None:
        self._files.makedirs(str(remote.parent), exist_ok=True)
        self._files.put_file(str(local), str(remote))


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    """Unpack the files of a run into a folder. The filters of tarfile, which came with Python 3.11.4, are not needed.

    Raises:
        tarfile.TarError: at anything but a file below the folder.
    """
    members = tar.getmembers()
    for member in members:
        place = PurePosixPath(member.name)
        if not member.isfile() or place.is_absolute() or ".." in place.parts:
            raise tarfile.TarError(f"{member.name!r} is no file of a run")
    for member in members:
        content, path = tar.extractfile(member), folder / member.name
        assert content is not None  # of a file
        path.parent.mkdir(parents=True, exist_ok=True)
        with content, path.open("wb") as file:
            shutil.copyfileobj(content, file)


def _files(folder: Path) -> list[Path]:
    """The files of a run, ``run.json`` last: where it has arrived, all others have.

    Those that say who is making the run stay on this machine. Another one would take them for a sign of life.
    """
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in (HOLDER, LOCK))
    return sorted(found, key=lambda path: (path.name == RunFolder.RUN, path))


def _number(archive: Any) -> int:
    return int(PurePosixPath(archive).stem.rpartition("-")[2])
