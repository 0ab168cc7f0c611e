"""Options of methods and searchers: converts the texts of ``--set key=value`` to fields of frozen dataclasses."""

from __future__ import annotations

import dataclasses
import json
import reprlib
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from nasbench.errors import UnknownName, UserError


def parse(options_class: type[Any], texts: Mapping[str, str], owner: str) -> Any:
    """An instance of a frozen options dataclass with fields set from texts.

    Args:
        texts: field name to text, as typed after ``--set``; commas separate the items of a ``tuple[X, ...]``.
        owner: the method or searcher that has these options, for the messages.

    Raises:
        UserError: for an unknown field, a text that does not fit the field's type, or a type that no text can set. A
            text can set int, float, str, bool, Literal, ``tuple[X, ...]`` and ``X | None``. A ``ValueError`` from the
            dataclass's ``__post_init__`` becomes a ``UserError`` too.
    """
    hints = get_type_hints(options_class)
    known = {field.name for field in dataclasses.fields(options_class)}
    values = {}
    for name, text in texts.items():
        if name not in known:
            raise UnknownName(f"option of {owner}:", name, known)
        values[name] = _convert(hints[name], text, f"option {name!r} of {owner}")
    try:
        return options_class(**values)
    except ValueError as error:
        raise UserError(f"options of {owner}: {error}") from error


def _convert(hint: Any, text: str, place: str) -> Any:
    origin = get_origin(hint)
    if origin is Literal:
        choices = [str(choice) for choice in get_args(hint)]
        if text not in choices:
            raise UnknownName(f"value for {place}:", text, choices)
        return get_args(hint)[choices.index(text)]
    if origin in (Union, types.UnionType) and len(get_args(hint)) == 2 and type(None) in get_args(hint):
        if text.lower() == "none":
            return None
        inner = next(arg for arg in get_args(hint) if arg is not type(None))
        return _convert(inner, text, place)
    if origin is tuple and get_args(hint)[1:] == (...,):
        parts = text.split(",") if text else []
        return tuple(_convert(get_args(hint)[0], part.strip(), place) for part in parts)
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise UserError(f"{place} must be true or false, not {text!r}")
        return text.lower() == "true"
    if hint not in (int, float, str):
        raise UserError(
            f"{place} cannot be set from text: its type {_name(hint)} is not int, float, str, bool, Literal, "
            "tuple[X, ...] or X | None"
        )
    try:
        value = hint(text)
    except ValueError:
        raise UserError(f"{place} must be of type {hint.__name__}, not {text!r}") from None
    if hint is not str and not abs(value) < 2**63:
        raise UserError(f"{place} must be a finite number between -2^63 and 2^63, not {text!r}")
    return value


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and get_origin(hint) is None else str(hint)


def choices(options_class: type[Any]) -> dict[str, list[str]]:
    """The allowed words of each ``Literal`` field, by field name."""
    found = {}
    for name, hint in get_type_hints(options_class).items():
        for part in (hint, *get_args(hint)):
            if get_origin(part) is Literal:
                found[name] = [str(choice) for choice in get_args(part)]
    return found


def to_json(options: Any) -> dict[str, Any]:
    """All fields with their values, as ``run.json`` gives them back: a tuple is a list.

    Raises:
        UserError: for a value that JSON cannot hold, such as a set or an infinite number.
    """
    values = dataclasses.asdict(options)
    for name, value in values.items():
        try:
            values[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise UserError(
                f"option {name!r} = {reprlib.repr(value)} of {type(options).__name__} cannot be kept in a record "
                f"({error}); use numbers, texts, true, false, None, and tuples of these"
            ) from error
    return values


def changes(options: Any, defaults: Any) -> dict[str, Any]:
    """The fields of an options dataclass that differ from the defaults, with their values.

    Nested options are compared one by one. An option that only the defaults have is given as None.
    """
    return _differences(to_json(options), to_json(defaults))


def _differences(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for name in [*values, *(name for name in defaults if name not in values)]:
        value, default = values.get(name), defaults.get(name)
        if isinstance(value, dict) and isinstance(default, dict):
            if inner := _differences(value, default):
                changed[name] = inner
        elif value != default:
            changed[name] = value
    return changed
