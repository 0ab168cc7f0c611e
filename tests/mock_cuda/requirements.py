"""Prints the packages that the tests on the pretended card need, except torch, whose build is another one there."""

import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TESTS = ("pytest", "pytest-benchmark")

if __name__ == "__main__":
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["offline"]
    wanted += [name for name in PROJECT["optional-dependencies"]["test"] if name.split(">")[0] in TESTS]
    print(*(name for name in wanted if not name.startswith("torch")), sep="\n")  # noqa: T201
