"""The origin of a record: package versions, code revision, hardware."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from nasbench import devices

_PACKAGES = (
    "torch",
    "transformers",
    "datasets",
    "numpy",
    "scipy",
    "pymoo",
    "moocore",
    "botorch",
    "optuna",
    "syne-tune",
)
_ENGINE = Path(__file__).resolve().parents[1]
"""The folder of the engine. A development install imports it through symbolic links, so the path is resolved."""


def describe(device: torch.device) -> dict[str, Any]:
    """Package versions, the git revision of the suite, and the hardware.

    Args:
        device: the run's device; the GPU is named only if the run uses it.

    Returns:
        JSON values: ``packages`` (version by name), ``python``, ``git_revision`` and ``hardware``; for a GPU,
        ``hardware`` has the name ``gpu`` and what :func:`nasbench.devices.describe_card` tells as ``card``.
    """
    return {
        "packages": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
        "python": platform.python_version(),
        "git_revision": git_revision(),
        "hardware": {
            "machine": platform.machine(),
            "cpu": _cpu_name(),
            "n_cpus": os.cpu_count(),
            "n_threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            **({"card": devices.describe_card(device)} if device.type == "cuda" else {}),
        },
    }


def engine_sha256() -> str:
    """SHA-256 of the engine's Python files and their paths, as they are on disk, committed or not."""
    digest = hashlib.sha256()
    for path in sorted(_ENGINE.rglob("*.py")):
        digest.update(path.relative_to(_ENGINE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def git_revision() -> str | None:
    """The commit of the checkout that the package runs from, or None outside a checkout.

    ``+changes`` is appended if the code of the engine, the methods, the baselines or the declarations is not committed.
    """
    root = _ENGINE.parents[1]
    if not (root / "pyproject.toml").exists():
        return None
    revision = _git(root, "rev-parse", "HEAD")
    if revision is None:
        return None
    folders = [str(root / name) for name in ("src", "benchmark", "methods", "baselines")]
    return revision + ("+changes" if _git(root, "status", "--porcelain", "--", *folders) else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
