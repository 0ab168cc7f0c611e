"""The lock file of CI: every package of every extra at the tested version, every file with a hash."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
REMEDY = "run 'make lock'"
UNLOCKED = {
    *("backports-tarfile", "cryptography", "docutils", "id", "importlib-metadata", "jaraco-classes", "jaraco-context"),
    *("jaraco-functools", "jeepney", "keyring", "lazy-importer", "more-itertools", "nh3", "readme-renderer"),
    *("requests-toolbelt", "rfc3986", "secretstorage", "twine", "zipp"),
}
"""Pins of twine and what it needs: `make release-check` installs it, and no extra has it."""


def locked() -> dict[str, tuple[str, int]]:
    """Version and number of hashes of each package."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[a-z])", text)
    found = {}
    for block in blocks:
        name = re.match(r"([a-z0-9-]+)==([^ ;\\]+)", block)
        if name:
            found[name.group(1)] = name.group(2), len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block))
    return found


def test_every_package_has_a_hash() -> None:
    assert len(locked()) > 100
    assert [name for name, (_, n) in locked().items() if n == 0] == []


def test_versions_are_those_of_the_constraints() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", text, flags=re.MULTILINE))
    assert len(pins) == sum(not line.startswith("#") for line in text.splitlines()) > 200
    versions = {name: version for name, (version, _) in locked().items()}
    assert {canonicalize_name(name) for name in pins} - versions.keys() == UNLOCKED, REMEDY
    differing = {
        name: (versions[key], pin)
        for name, pin in pins.items()
        if versions.get(key := canonicalize_name(name), pin) != pin
    }
    assert differing == {}, REMEDY


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    for text in (*project["dependencies"], *(each for extra in extras for each in extra)):
        wanted = Requirement(text)
        assert canonicalize_name(wanted.name) in locked(), f"{wanted.name}: {REMEDY}"
        assert wanted.specifier.contains(locked()[canonicalize_name(wanted.name)][0]), f"{wanted.name}: {REMEDY}"


def test_pins_work_with_the_oldest_python() -> None:
    """Debian 12 has 3.11.2. Where a pin needs a newer one, pip searches for minutes and gives up."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = project["requires-python"].removeprefix(">=") + ".0"
    installed = {canonicalize_name(each.name): each for each in distributions()}
    checked = {
        name: requirement
        for name, (version, _) in locked().items()
        if name in installed
        and installed[name].version == version
        and (requirement := installed[name].metadata["Requires-Python"])
    }
    assert len(checked) > 50
    assert [name for name, requirement in checked.items() if not SpecifierSet(requirement).contains(oldest)] == []
