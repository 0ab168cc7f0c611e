"""Shuts the present process in, as far as the system allows: no network, no files but its own, no other processes.

Everything here uses the kernel's own calls, through ctypes, and needs no privileges: namespaces (``unshare``),
Landlock, resource limits. It must run before any thread starts, so this module imports only the standard library.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import stat
import struct
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = (
    0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
_CAPABILITY_VERSION = 0x20080522
# The same numbers on all architectures.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION, _LANDLOCK_PATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_SYSTEM_PATHS = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt", "/sys", "/proc", "/etc/ld.so.cache",
    "/etc/localtime", "/etc/alternatives",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/nvidia-caps")
SCRATCH_BYTES = 1 << 30
"""Size of the scratch folder, which lies in memory where the system allows it."""
FILE_BYTES = 1 << 30
"""Largest file that the child may write."""
MAX_PROCESSES = 4096

Network = Literal["no network", "no TCP", "open"]
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Protections:
    """What the system allowed. ``missing`` says in words what it did not.

    Attributes:
        network: ``no network``, ``no TCP`` (other protocols are open), or ``open``.
        files: whether only the listed paths can be read, and only the scratch folder and a private ``/dev/shm`` can be
            written.
        processes: whether other processes cannot be seen, and all end with the child.
        scratch: whether the scratch folder is limited in size.
    """

    network: Network
    files: bool
    processes: bool
    scratch: bool

    @property
    def missing(self) -> list[str]:
        """One phrase for each protection that this system does not give."""
        found = []
        if self.network != "no network":
            found.append("the method can use the network" + (", except TCP" if self.network == "no TCP" else ""))
        if not self.files:
            found.append("the method can read and write all files of this user, records and test data among them")
        if not self.processes:
            found.append("the method can see the other processes of this user")
        if not self.scratch:
            found.append("the method's files have no limit in all, so it can fill the disk")
        return found


def system_paths(hidden: Sequence[Path]) -> list[str]:
    """Files and folders of the system and of Python, which a method needs to read.

    Args:
        hidden: folders and files, resolved. Where a folder of the system holds one of them, the others in it are given.
    """
    roots = [Path(path) for path in (*_SYSTEM_PATHS, sys.prefix, sys.base_prefix)]
    return [str(path) for root in roots for path in _around(root, hidden)]


def _around(path: Path, hidden: Sequence[Path]) -> list[Path]:
    real = path.resolve()
    if not any(place.is_relative_to(real) for place in hidden):
        return [path]
    if real in hidden or not real.is_dir():
        return []
    return [found for inner in sorted(real.iterdir()) for found in _around(inner, hidden)]


def shut_in(readable: Iterable[str], scratch: str, memory_bytes: int) -> Protections:
    """Shut this process in. It returns in a new process; the present one waits for that, ends it and passes on its end.

    Args:
        readable: files and folders that may be read.
        scratch: the folder that may be written, besides a private ``/dev/shm`` if the system gives one.
        memory_bytes: limit of the memory of each process.
    """
    uid, gid = os.getuid(), os.getgid()
    namespaces = _unshare()
    if namespaces & _CLONE_NEWUSER:
        _map_user(uid, gid)
    _fork_supervised(has_pids=bool(namespaces & _CLONE_NEWPID))
    has_scratch = has_mounts = has_own_proc = False
    if namespaces & _CLONE_NEWNS:
        has_mounts = _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
        options = f"size={SCRATCH_BYTES},mode=0700"
        has_scratch = has_mounts and _mount("tmpfs", scratch, "tmpfs", _MS_NOSUID | _MS_NODEV, options)
        if has_mounts:
            has_own_proc = _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    has_shm = has_mounts and _mount("tmpfs", "/dev/shm", "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={SCRATCH_BYTES}")
    os.chdir(scratch)
    _limit(memory_bytes)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    has_files, has_tcp = _landlock(readable, [scratch, *(["/dev/shm"] if has_shm else [])])
    _drop_capabilities()
    network: Network = "no network" if namespaces & _CLONE_NEWNET else "no TCP" if has_tcp else "open"
    sees_no_others = bool(namespaces & _CLONE_NEWPID) and has_own_proc
    return Protections(network, has_files, sees_no_others, has_scratch)


def hide_memory() -> None:
    """Forbid other processes of this user to read this process's memory. For the parent."""
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _unshare() -> int:
    """Leave the namespaces that the system lets this process leave. Returns their flags."""
    own = _CLONE_NEWNET | _CLONE_NEWPID | _CLONE_NEWNS | _CLONE_NEWIPC
    attempts = (
        _CLONE_NEWUSER | own,
        own,
        _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWPID,
        _CLONE_NEWUSER | _CLONE_NEWNET,
    )
    return next((flags for flags in attempts if _libc.unshare(flags) == 0), 0)


def _map_user(uid: int, gid: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with suppress(OSError):
            Path(f"/proc/self/{name}").write_text(text)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> bool:
    texts = [None if text is None else text.encode() for text in (source, target, kind)]
    return bool(_libc.mount(*texts, ctypes.c_ulong(flags), None if options is None else options.encode()) == 0)


def _fork_supervised(has_pids: bool) -> None:
    """Go on in a new process. The present one never returns: it ends the new one and all its processes, when told."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        return

    def end(*_: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    os.closerange(0, 1024)  # the parent sees the end of the socket when the child ends
    while True:
        pid, status = os.waitpid(-1, 0)  # orphans of the child come here, too
        if pid == child:
            break
    if not has_pids:
        _end_orphans()
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def _end_orphans() -> None:
    """Kill the processes that the child left behind. Those of a PID namespace have ended with it."""
    while children := children_of(os.getpid()):
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)


def children_of(parent: int) -> list[int]:
    """The processes that a process has started and that have not been waited for."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                text = (entry / "stat").read_text()
                if int(text.rpartition(")")[2].split()[1]) == parent:
                    found.append(int(entry.name))
    return found


def _limit(memory_bytes: int) -> None:
    limits = {
        resource.RLIMIT_DATA: memory_bytes,
        resource.RLIMIT_FSIZE: FILE_BYTES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: MAX_PROCESSES,
    }
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, most))
    with suppress(OSError):  # if memory runs out all the same, the kernel ends this process first
        Path("/proc/self/oom_score_adj").write_text("1000")


def _landlock(readable: Iterable[str], writable: Iterable[str]) -> tuple[bool, bool]:
    """Forbid all files but these, and TCP. Returns whether each of the two holds."""
    version = _libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), _LANDLOCK_VERSION)
    if version < 1:
        return False, False
    handled = (1 << 13) - 1
    if version >= 2:
        handled |= 1 << 13  # moving files between folders
    if version >= 3:
        handled |= _TRUNCATE
    # Version 4: TCP. Version 6: abstract sockets and signals to processes outside.
    attributes = struct.pack("QQQ", handled, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = _libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(size), 0)
    if rules < 0:
        return False, False
    for path in readable:
        _allow(rules, path, _READ & handled)
    for path in (*_DEVICES, *(str(path) for path in Path("/dev").glob("nvidia*"))):
        _allow(rules, path, (_READ_FILE | _WRITE_FILE | _READ_DIR) & handled)
    for path in writable:
        _allow(rules, path, handled)
    holds = _libc.syscall(_LANDLOCK_RESTRICT, rules, 0) == 0
    os.close(rules)
    return holds, holds and version >= 4


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not stat.S_ISDIR(os.fstat(place).st_mode):
        rights &= _FILE_RIGHTS
    _libc.syscall(_LANDLOCK_ADD, rules, _LANDLOCK_PATH, struct.pack("=Qi", rights, place), 0)
    os.close(place)


def _drop_capabilities() -> None:
    """Give up all capabilities, those of the own user namespace and those of the superuser."""
    _libc.capset(struct.pack("Ii", _CAPABILITY_VERSION, 0), struct.pack("IIIIII", 0, 0, 0, 0, 0, 0))
