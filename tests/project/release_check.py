"""Check a release: build it, check its metadata, and use the wheel in a new environment.

``make release-check`` runs this. It needs a package index and installs the versions in constraints.txt. The
built files stay in dist/.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command and show it; its failure ends the check."""
    print("+", *command, flush=True)  # noqa: T201
    process = subprocess.run([str(part) for part in command], cwd=cwd, stdout=subprocess.PIPE, text=True)
    if process.returncode != 0:
        sys.exit(process.stdout + f"release check failed: exit code {process.returncode}")
    return process.stdout


def main() -> None:
    """Check everything, in the order in which a release would fail."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST)
    (wheel,) = DIST.glob("*.whl")
    (source,) = DIST.glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", source, wheel)

    with zipfile.ZipFile(wheel) as archive:
        packed = archive.namelist()
    tests = [name for name in packed if "tests/" in name or Path(name).name.startswith(("test_", "conftest"))]
    strangers = [name for name in packed if not name.startswith(("nasbench/", "nasbench_plm-"))]
    if tests or strangers:
        sys.exit(f"release check failed: the wheel {wheel.name} must not hold {', '.join(tests + strangers)}")
    with tarfile.open(source) as archive:
        missing = {"LICENSE", "README.md", "pyproject.toml"} - {name.partition("/")[2] for name in archive.getnames()}
    if missing:
        sys.exit(f"release check failed: {source.name} lacks {', '.join(sorted(missing))}")

    with tempfile.TemporaryDirectory() as folder:
        elsewhere = Path(folder)
        run(sys.executable, "-m", "venv", elsewhere / "venv")
        programs = elsewhere / "venv" / "bin"
        run(programs / "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel)
        run(programs / "pip", "check")
        if "Usage: nasbench" not in run(programs / "nasbench", "--help", cwd=elsewhere):
            sys.exit("release check failed: 'nasbench --help' prints no usage")
        if "ws-nas" not in run(programs / "nasbench", "methods", cwd=elsewhere):
            sys.exit("release check failed: 'nasbench methods' does not list ws-nas, so the wheel lacks a leaf")
    print(f"release check passed: {source.name}, {wheel.name}")  # noqa: T201


if __name__ == "__main__":
    main()
