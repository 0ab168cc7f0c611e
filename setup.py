"""Where the packages are; everything else is in pyproject.toml.

A wheel is built from the folders themselves. A development install (``pip install -e .``) goes through
``.dev/nasbench``, a folder of symbolic links with the layout of the installed package. Editors and type checkers follow
links. They cannot follow the import hook that setuptools would install otherwise.
"""

import sys
from pathlib import Path

from setuptools import setup

ENGINE = "src/nasbench"
LEAVES = ("benchmark", "methods", "baselines", "analysis")
ROOT = Path(__file__).parent


def packages() -> dict[str, str]:
    """Every package with its folder: the engine below ``src``, each leaf at the top level."""
    tops = {"nasbench": ENGINE} | {f"nasbench.{leaf}": leaf for leaf in LEAVES}
    found = {}
    for name, top in tops.items():
        for init in sorted((ROOT / top).rglob("__init__.py")):
            inner = init.parent.relative_to(ROOT / top).parts
            found[".".join((name, *inner))] = "/".join((top, *inner))
    return found


def link() -> str:
    """Make the folder of links; a leaf or a room of the engine is one link, so that new files need no new install."""
    links = ROOT / ".dev" / "nasbench"
    links.mkdir(parents=True, exist_ok=True)
    wanted = {path.name: path for path in (ROOT / ENGINE).iterdir() if path.name != "__pycache__"}
    wanted |= {leaf: ROOT / leaf for leaf in LEAVES}
    for old in links.iterdir():
        if old.is_symlink():
            old.unlink()
    for name, path in wanted.items():
        (links / name).symlink_to(path, target_is_directory=path.is_dir())
    return ".dev"


folders = packages()
if "editable_wheel" in sys.argv:
    setup(packages=list(folders), package_dir={"": link()})
else:
    setup(packages=list(folders), package_dir=folders)
