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
        UserError: one line, if the file cannot be read, is no TOML, or has other keys or values that are no text.
        UnknownName: for a figure that there is not.
    """
    path = folder / FILE
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        entries, sections = (_table(name, found.pop(name, {})) for name in ("figures", "claims"))
        figures = {name: Figure(**_texts(name, entry)) for name, entry in entries.items()}
        claims = {section: _texts(section, reasons) for section, reasons in sections.items()}
    except FileNotFoundError:
        return Discussion()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except (TypeError, ValueError) as error:  # ValueError: no UTF-8, or no TOML
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error
    if found:
        raise UserError(f"{path}: unknown table {next(iter(found))!r}; known: figures, claims")
    for name in figures:
        if name not in FIGURES:
            raise UnknownName("figure", name, FIGURES)
    return Discussion(figures, claims)


def _table(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{name!r} is {value!r}, not a table")
    return value


def _texts(name: str, value: object) -> dict[str, str]:
    table = _table(name, value)
    for key, text in table.items():
        if not isinstance(text, str):
            raise TypeError(f"{key!r} of {name!r} is {text!r}, not a text")
    return table
