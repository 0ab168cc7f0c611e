"""Where a record comes from: versions, revision, hardware."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("torch", "transformers", "datasets", "numpy", "scipy", "pymoo", "moocore", "botorch")
_ENGINE = Path(__file__).resolve().parents[1]
"""The folder of the engine. A development install reaches it through links, which are resolved."""


def describe(device: torch.device) -> dict[str, Any]:
    """Packages, git revision of the suite, and the machine a run is on."""
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
        },
    }


def engine_sha256() -> str:
    """Of the engine's code, whatever checkout or package it is in, committed or not."""
    digest = hashlib.sha256()
    root = _ENGINE
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def git_revision() -> str | None:
    """Commit of the checkout this package runs from, with ``+changes`` if its code differs; None outside a checkout."""
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
