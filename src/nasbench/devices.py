"""The device of a run: which one, whether torch can use it, what it is, and what fills its memory.

GPUs are NVIDIA's. Cards of AMD and Apple are refused: their results would be ranked beside NVIDIA's as ``gpu``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.errors import UserError, first_line, printable

if TYPE_CHECKING:
    import torch

_DRIVER = Path("/proc/driver/nvidia/version")
_CARDS = Path("/proc/driver/nvidia/gpus")
_AMD = Path("/dev/kfd")
_QUERY_S = 10.0
"""Longest wait for ``nvidia-smi``, which hangs if the driver does."""


def resolve_device(name: str) -> str:
    """The device asked for, as torch names it: ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        UserError: if this machine has no such device, or the suite does not run on it.
    """
    if name == "auto":
        return "cuda" if _n_gpus() else "cpu"
    kind, colon, index = name.partition(":")
    if name == "cpu":
        return name
    if kind != "cuda" or (colon and not (index.isascii() and index.isdigit())):
        hint = "; of all GPUs, nasbench runs on NVIDIA's only" if kind in ("mps", "hip", "rocm", "xpu") else ""
        raise UserError(f"--device is auto, cpu, cuda or cuda:NUMBER, not {name!r}{hint}")
    n_gpus = _n_gpus()
    if n_gpus == 0:
        why = why_no_gpu()
        because = "" if why is None else f" ({why})"
        raise UserError(f"--device {name}: this torch sees no GPU{because}; use --device cpu")
    if colon and int(index) >= n_gpus:
        raise UserError(f"--device {name}: this torch sees {n_gpus} GPUs, cuda:0 to cuda:{n_gpus - 1}")
    return name if not colon else f"cuda:{int(index)}"


def fallback_notice(asked_for: str, device: str) -> str | None:
    """One line if ``auto`` chose the CPU of a machine that has a GPU; None otherwise."""
    if asked_for != "auto" or device != "cpu":
        return None
    why = why_no_gpu()
    return None if why is None else f"running on the CPU although this machine has a GPU: {why}"


def _n_gpus() -> int:
    """Number of GPUs that torch can use and the suite runs on."""
    import torch

    if torch.version.hip is not None:
        return 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns if the driver is too old; why_no_gpu says it
        return torch.cuda.device_count() if torch.cuda.is_available() else 0


def why_no_gpu() -> str | None:
    """Why torch uses no GPU of this machine; None if the machine has none, as far as can be seen."""
    import torch

    if torch.version.hip is not None or _AMD.exists():
        return "nasbench does not run on GPUs of AMD"
    if torch.backends.mps.is_available():
        return "nasbench does not run on GPUs of Apple"
    said = None
    if torch.version.cuda is not None:
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]
        except (RuntimeError, AssertionError) as error:
            said = printable(first_line(error))
    has_card = (_CARDS.is_dir() and any(_CARDS.iterdir())) or "driver on your system is too old" in (said or "")
    if not has_card:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and re.fullmatch(r"\s*(-\d+.*)?", visible):
        return f"CUDA_VISIBLE_DEVICES is {visible!r}, which hides it"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build for CPUs; install a build for CUDA"
    return said or f"torch {torch.__version__} for CUDA {torch.version.cuda} cannot use it"


@contextmanager
def loading(device: torch.device) -> Iterator[None]:
    """Say in one line if a GPU cannot take a network: it is full, or this torch has no kernels for it.

    Raises:
        UserError: names the card, and what a user can do.
    """
    import torch

    if device.type != "cuda":
        yield
        return
    try:
        (torch.ones(1, device=device) + 1).cpu()  # a card without kernels refuses its first one
        yield
    except (torch.OutOfMemoryError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, torch.OutOfMemoryError) or "out of memory" in text:
            raise UserError(
                f"{describe_memory(device)}. The network and the data do not fit; free memory, choose another GPU "
                "with --device cuda:NUMBER, or use --device cpu"
            ) from error
        if "no kernel image" in text or "ARCH_MISMATCH" in text:
            major, minor = torch.cuda.get_device_capability(device)
            raise UserError(
                f"torch {torch.__version__} has no kernels for {torch.cuda.get_device_name(device)} (compute "
                f"capability {major}.{minor}, {first_line(error)}); install a build of torch for this card, or use "
                "--device cpu"
            ) from error
        raise


def describe_memory(device: torch.device) -> str:
    """A GPU's name, free memory and other processes, in one line."""
    import torch

    free, total = _memory(device)
    own = torch.cuda.memory_reserved(device)
    others = max(0, total - free - own)
    processes = _processes(device)
    by = f" by {processes}" if processes else ""
    return (
        f"{torch.cuda.get_device_name(device)} has {_gb(free)} of {_gb(total)} free; others use {_gb(others)}{by}, "
        f"this process {_gb(own)}"
    )


def _memory(device: torch.device) -> tuple[int, int]:
    """Free and total bytes. A card that is so full that it cannot be asked has none free."""
    import torch

    try:
        free, total = torch.cuda.mem_get_info(device)
        return int(free), int(total)
    except RuntimeError:
        return 0, int(torch.cuda.get_device_properties(device).total_memory)


def _processes(device: torch.device) -> str:
    """The other processes on a GPU with their memory; empty if they cannot be told."""
    import torch

    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    lines = _smi("--query-compute-apps=pid,used_memory", *([f"--id=GPU-{uuid}"] if uuid else []))
    found = [line.split(", ") for line in lines]
    return ", ".join(
        f"process {pid} ({_gb(int(mib) << 20)})"
        for pid, mib in (pair for pair in found if len(pair) == 2)
        if mib.isdigit() and int(pid) != os.getpid()
    )


def _smi(*arguments: str) -> list[str]:
    """Lines of ``nvidia-smi``; none if it is missing or fails."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        done = subprocess.run(
            [command, *arguments, "--format=csv,noheader,nounits"],
            capture_output=True, text=True, check=True, timeout=_QUERY_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB"


def describe_card(device: torch.device) -> dict[str, Any]:
    """What a GPU is, for the origin of a record.

    Returns:
        JSON values: ``capability``, ``memory_bytes``, ``mig`` (the part of a divided card, None if it is whole),
        ``driver`` (its version; None if it cannot be told), ``cuda`` (of torch's build) and ``cudnn``.
    """
    import torch

    properties = torch.cuda.get_device_properties(device)
    return {
        "capability": f"{properties.major}.{properties.minor}",
        "memory_bytes": int(properties.total_memory),
        "mig": properties.name.partition(" MIG ")[2] or None,
        "driver": _driver_version(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }


def _driver_version() -> str | None:
    try:
        found = re.search(r"Module(?: for \w+)?\s+(\d+(?:\.\d+)+)", _DRIVER.read_text(encoding="utf-8"))
    except OSError:
        found = None
    if found is not None:
        return found.group(1)
    lines = _smi("--query-gpu=driver_version")
    return lines[0] if lines else None
