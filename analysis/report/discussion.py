"""What people have written about a folder of records: ``discussion.toml`` beside them, shown on the page about it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nasbench.analysis.figures.catalogue import FIGURES
from nasbench.errors import UnknownName, UserError

FILE = "discussion.toml"


@dataclass(frozen=True)
class Figure:
    """A figure on the page.

    Attributes:
        picture: path of the drawn figure, relative to the page; empty for none.
        text: what it shows.
    """

    text: str
    picture: str = ""


@dataclass(frozen=True)
class Discussion:
    """Texts by name of a figure; reasons by track and device class (``compact/cpu``) and by text of a claim."""

    figures: Mapping[str, Figure] = field(default_factory=dict)
    claims: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_discussion(folder: Path) -> Discussion:
    """The discussion of a folder of records; empty without a file.

    Raises:
        UserError: one line, if the file is no TOML or has other keys.
        UnknownName: for a figure that there is not.
    """
    path = folder / FILE
    if not path.exists():
        return Discussion()
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        figures = {name: Figure(**entry) for name, entry in found.pop("figures", {}).items()}
        claims = {section: {**reasons} for section, reasons in found.pop("claims", {}).items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error
    if found:
        raise UserError(f"{path}: unknown table {next(iter(found))!r}; known: figures, claims")
    for name in figures:
        if name not in FIGURES:
            raise UnknownName("figure", name, FIGURES)
    return Discussion(figures, claims)
