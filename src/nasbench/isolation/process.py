"""Starts, watches and ends the child."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO

import nasbench
from nasbench.errors import NasbenchError, escaped, printable
from nasbench.isolation.protocol import Channel, Ended, ProtocolError
from nasbench.isolation.sandbox import Protections, children_of, hide_memory, system_paths

START_LIMIT_S = 300.0
"""Longest time for imports, and then for making the method and its searcher. Both cost no budget."""
MEMORY_SHARE = 0.8
"""Share of the memory that is free when the child starts, as the limit of its memory."""
MAX_OUTPUT_BYTES = 1 << 20
_KEPT_VARIABLES = re.compile(
    r"PATH|LANG|LC_\w+|TZ|LD_LIBRARY_PATH|(OMP|MKL|OPENBLAS|NUMEXPR|KMP|CUDA|NVIDIA|CUBLAS|TORCH|PYTORCH)_\w+|PYTHONHASHSEED"
)
"""Variables that the child gets: what computing depends on. Tokens, passwords and places of data stay here."""


class MethodEnded(Exception):
    """The child is gone, or must go. The text says why, for the record."""


def start(descriptor: int, settings: str, scratch: str) -> subprocess.Popen[bytes]:
    """Start ``nasbench.isolation.child`` in the scratch folder, with one end of the connection."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "nasbench.isolation.child", str(descriptor), settings],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=scratch,
        pass_fds=[descriptor], env=_environment(scratch), start_new_session=True,
    )  # fmt: skip


class Child:
    """The process of one method.

    Args:
        plugins: files that it imports.
        hidden: folders and files that it must not read, such as those of data and records.
        memory_bytes: limit of its memory; None for :data:`MEMORY_SHARE` of what is free.

    Attributes:
        channel: the connection.
        protections: what the system allowed.

    Raises:
        NasbenchError: if the process does not start.
    """

    def __init__(self, plugins: Sequence[Path], hidden: Iterable[Path], memory_bytes: int | None = None) -> None:
        self.memory_bytes = memory_bytes or round(MEMORY_SHARE * _free_bytes())
        self._scratch = tempfile.mkdtemp(prefix="nasbench-")
        hide_memory()
        ours, theirs = socket.socketpair()
        places = [path.resolve() for path in hidden]
        readable = [*system_paths(places), *_code_folders(places), *(str(path.resolve()) for path in plugins)]
        settings = {"readable": readable, "scratch": self._scratch, "memory_bytes": self.memory_bytes}
        self._process = start(theirs.fileno(), json.dumps(settings), self._scratch)
        self._started_s = time.monotonic()
        theirs.close()
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=_pass_on, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        self.channel = Channel(ours, max_bytes=1 << 20, tick=self._check_start)
        self._n_checks = 0
        try:
            self.protections = Protections(**self.channel.receive()[0]["protections"])
        except (Ended, ProtocolError, KeyError, TypeError, MethodEnded) as error:
            self.close()
            raise NasbenchError(
                "the method's own process did not start (the lines above say why); run with --no-isolate if you trust "
                "the method"
            ) from error
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Check that the child lives and keeps to its memory.

        Raises:
            MethodEnded: if not.
        """
        if self._process.poll() is not None:
            raise MethodEnded(self.end_reason())
        self._n_checks += 1
        if self._n_checks % 5 == 0 and (used := self._used_bytes()) > self.memory_bytes:
            raise MethodEnded(
                f"the method's processes used {used / 1e9:.1f} GB of memory together, more than the limit of "
                f"{self.memory_bytes / 1e9:.1f} GB"
            )

    def _check_start(self) -> None:
        """Check the child as long as no run has begun: importing a plugin may never end."""
        self.check()
        if time.monotonic() - self._started_s > START_LIMIT_S:
            raise MethodEnded(f"the method was not ready after {START_LIMIT_S:g} s")

    def end_reason(self) -> str:
        """Why the child is gone, for the record."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.returncode
        if code is None:
            return "the method closed the connection to the harness"
        if code > 128 and code - 128 in set(signal.Signals):
            how = f"signal {signal.Signals(code - 128).name}"
            if code - 128 == signal.SIGKILL:
                how += ", perhaps because memory ran out"
        else:
            how = f"exit code {code}"
        return f"the method's process ended before the method did ({how})"

    def close(self) -> None:
        """End the child with all its processes, and remove its files."""
        self.channel.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._reader.join(2)
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _used_bytes(self) -> int:
        total, pending = 0, children_of(self._process.pid)
        while pending:
            pid = pending.pop()
            pending += children_of(pid)
            with suppress(OSError, ValueError):
                text = Path(f"/proc/{pid}/status").read_text()
                total += sum(1024 * int(n) for n in re.findall(r"Rss(?:Anon|Shmem):\s+(\d+) kB", text))
        return total


def _pass_on(stream: IO[bytes]) -> None:
    """Print what the child prints, up to a limit. Nothing in it steers the terminal."""
    left = MAX_OUTPUT_BYTES
    for line in iter(lambda: stream.readline(4096), b""):
        if left > 0:
            print(escaped(line.decode(errors="replace").rstrip("\n")), file=sys.stderr)  # noqa: T201
            left -= len(line)
            if left <= 0:
                print("(the method prints more than is shown)", file=sys.stderr)  # noqa: T201


def in_plain_text(value: object, longest: int = 500) -> str:
    """What a stranger's process has sent, as :func:`~nasbench.errors.printable` shows it."""
    return printable(str(value), longest)


def _environment(scratch: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if _KEPT_VARIABLES.fullmatch(name)}
    package = str(Path(nasbench.__file__).absolute().parent.parent)
    places = [package, *(path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path)]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in places),  # noqa: PTH100 - keeps links
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": scratch,
        "TMPDIR": scratch,
        "HF_HOME": scratch,
        "HF_HUB_OFFLINE": "1",
        "NASBENCH_CACHE_DIR": scratch,
    }


def _code_folders(hidden: Sequence[Path]) -> list[str]:
    """The folders from which Python imports, without those that hold a hidden folder."""
    found = {Path(path).resolve() for path in sys.path if path and Path(path).is_absolute()}
    found.discard(Path.cwd())  # ``python -m`` puts it there, and it may hold anything
    found.add(Path(nasbench.__file__).absolute().parent)
    for package_path in nasbench.__path__:  # a development install has links to other folders
        found |= {entry.resolve() for entry in Path(package_path).iterdir()}
    for group in ("nasbench.methods", "nasbench.searchers"):
        for point in entry_points(group=group):
            with suppress(ImportError, ValueError):  # an editable install may import through a finder of its own
                spec = importlib.util.find_spec(point.value.split(":")[0].split(".")[0])
                if spec is not None:
                    found |= {Path(path).resolve() for path in spec.submodule_search_locations or [spec.origin or ""]}
    return [str(path) for path in sorted(found) if not any(place.is_relative_to(path) for place in hidden)]


def _free_bytes() -> int:
    free = next(
        1024 * int(line.split()[1])
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable")
    )
    with suppress(OSError, ValueError):  # a container's limit
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        free = min(free, limit - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    return free
