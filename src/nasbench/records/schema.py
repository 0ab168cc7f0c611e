"""What may stand in each field of a record, for whoever reads one: resuming, exporting and the analysis.

The dataclasses of ``record.py`` are the schema. The aliases below are the types of their fields, with the bounds that
hold for every run. pydantic checks them while it parses. It is imported only when a record is read, so that commands
that read no record start fast.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_type_hints

from annotated_types import DocInfo, Ge, Gt, Le, Lt, MinLen, Predicate, doc

from nasbench.errors import UserError
from nasbench.networks.space import JsonConfig

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

SCHEMA_VERSION = 1
ROUNDING = 1e-9
"""Allowed excess of a value over its bound."""
MAX_ERROR = 2
"""Largest error: it is 1 - metric, and no metric is below -1."""
OTHER_WORK = "other work on the machine"
"""How the reason against a disturbed run begins."""
EARLIER_ATTEMPTS = "earlier_attempts"
"""Where the provenance has the revision, hardware and packages of attempts that were made in another place."""
RETIRED_OPTIONS: Mapping[str, Mapping[str, Any]] = {"ws-nas-ordered": {"repair": False}}
"""By method: options that it once had. Each has the value that does what the method does without the option."""
_DEEPEST = 32
"""Levels of lists and objects in one value: the code that shows them calls itself at every level."""
_INT64 = 2**63


class RecordError(UserError):
    """A record that cannot be read; names the file, the line or field, and the value."""


def present_options(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run, ``{"method": {...}, "searcher": {...}}``, as a record of the present version has them.

    A retired option is left out if it has the value that stayed. With another value it is kept, because the run did
    something that the method no longer does.
    """
    stayed, own = RETIRED_OPTIONS.get(method, {}), options.get("method")
    if not isinstance(own, dict):
        return dict(options)
    kept = {name: value for name, value in own.items() if name not in stayed or value != stayed[name]}
    return {**options, "method": kept}


def _can_be_shown(value: Any, depth: int = _DEEPEST) -> bool:
    """Whether a value has no NUL in its texts (arrays of text lose it), finite numbers, and is not nested too deep."""
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return depth > 0 and all(_can_be_shown(key) and _can_be_shown(item, depth - 1) for key, item in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_can_be_shown(item, depth - 1) for item in value)
    return True


_SHOWN = Predicate(_can_be_shown)
Configuration = Annotated[JsonConfig, doc("an object of integers, texts and lists of integers")]
Text = Annotated[str, _SHOWN, doc("a text without NUL characters")]
Texts = Annotated[list[str], _SHOWN, doc("a list of texts without NUL characters")]
Name = Annotated[str, MinLen(1), _SHOWN, doc("a name")]
Values = Annotated[dict[str, Any], _SHOWN, doc(f"an object of at most {_DEEPEST} levels, finite numbers, no NUL")]
ChangedOptions = Annotated[
    dict[str, dict[str, Any]], _SHOWN, doc("an object of options by 'method' and 'searcher', of at most 32 levels")
]
Integer = Annotated[int, Ge(-_INT64), Lt(_INT64), doc("an integer of 64 bits")]
Count = Annotated[int, Ge(0), Lt(_INT64), doc("an integer of 0 or more")]
Counts = Annotated[list[Count], doc("a list of integers of 0 or more")]
PositiveCount = Annotated[int, Ge(1), Lt(_INT64), doc("an integer of 1 or more")]
Sizes = Annotated[dict[str, Count], _SHOWN, doc("an object of integers of 0 or more")]
NetworkSizes = Annotated[
    dict[str, Count | list[Count]], _SHOWN, doc("an object of integers of 0 or more, or lists of them")
]
Number = Annotated[float, doc("a finite number")]
Numbers = Annotated[dict[str, float], doc("an object of finite numbers")]
Limit = Annotated[float, Gt(0), doc("a positive number of seconds")]
Seconds = Annotated[float, Ge(0), doc("a number of seconds, 0 or more")]
SecondsByPhase = Annotated[dict[str, Seconds], _SHOWN, doc("an object of seconds by phase, each 0 or more")]
Conditions = Annotated[
    list[dict[str, float | list[float | None] | None]], _SHOWN, doc("a list of objects of numbers and lists of numbers")
]
Error = Annotated[float, Ge(-ROUNDING), Le(MAX_ERROR + ROUNDING), doc(f"an error between 0 and {MAX_ERROR}")]
Fraction = Annotated[float, Gt(0), Le(1 + ROUNDING), doc("a fraction of the full network, above 0 and at most 1")]
Objectives = Annotated[list[str], MinLen(2), _SHOWN, doc("a list of at least two names of objectives")]
Costs = Annotated[
    dict[str, Annotated[float, Ge(0)]], MinLen(1), _SHOWN, doc("an object of numbers of 0 or more, at least one")
]
Version = Annotated[int, Ge(1), Le(SCHEMA_VERSION), doc("a version of the schema")]

STRICT: Mapping[str, Any] = {"strict": True, "extra": "forbid", "allow_inf_nan": False}
"""pydantic's configuration of a dataclass: no conversion, no unknown field, finite numbers only."""


def to_json(part: Any) -> dict[str, Any]:
    """The JSON values of an instance of one of the record's dataclasses.

    Usual runs are written as they were before there were other objectives and tables, to the last byte.
    """
    values = dataclasses.asdict(part)
    for place in (values, values.get("identity", {})):
        for name in ("objectives", "costs", "table"):
            if place.get(name, 0) is None:
                del place[name]
    return values


def parse(cls: type[T], text: bytes, place: str) -> T:
    """An instance of one of the record's dataclasses from its JSON text.

    Args:
        place: file, and line where there are several, for the messages.

    Raises:
        RecordError: the text is not JSON, its schema is newer, a field is missing or unknown, or a value does not fit
            its field. The message is one line that names the place, the field and the value.
    """
    from pydantic import ValidationError

    try:
        record: T = _adapter(cls).validate_json(text)  # type: ignore[arg-type]  # mypy: a class is not hashable
    except ValidationError as error:
        raise RecordError(f"{place}: {_mistake(cls, text, error)}") from None
    return record


@functools.cache
def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def _mistake(cls: type[Any], text: bytes, error: ValidationError) -> str:
    """The first mistake in words."""
    first = error.errors(include_url=False)[0]
    kind, path = first["type"], first["loc"]
    if kind == "json_invalid":
        return f"not JSON ({first['ctx']['error']})".replace("recursion limit exceeded", "nested too deep")
    from pydantic_core import from_json

    data = from_json(text)
    if not isinstance(data, dict):
        return f"not a JSON object but {reprlib.repr(data)}"
    version = data.get("schema_version")
    if type(version) is int and version > SCHEMA_VERSION:
        return f"schema version {version} is newer than {SCHEMA_VERSION}; upgrade nasbench"
    names: list[str] = []
    hint: Any = cls
    for step in path:
        if not hasattr(hint, "__dataclass_fields__"):
            break
        names.append(str(step))
        hint = get_type_hints(hint, include_extras=True).get(str(step))
        data = data.get(step) if isinstance(data, dict) else None
    field = ".".join(names)
    if kind == "missing":
        return f"no {field!r}"
    if hint is None:
        return f"unknown field {reprlib.repr(field)}; upgrade nasbench if a newer version wrote it"
    return f"{field} = {reprlib.repr(data)} is not {_wanted(hint)}"


def _wanted(hint: Any) -> str:
    """A field's type in words."""
    arguments = get_args(hint)
    documented = next((part.documentation for part in arguments if isinstance(part, DocInfo)), None)
    if documented is not None:
        return documented
    if type(None) in arguments:
        return f"{_wanted(next(part for part in arguments if part is not type(None)))} or null"
    if arguments and all(isinstance(part, str) for part in arguments):
        return " or ".join(map(repr, arguments))
    return "an object"


def work_times(conditions: Sequence[Mapping[str, Any]]) -> list[float]:
    """Seconds of the fixed piece of work that a run has measured, over all attempts.

    Args:
        conditions: of a record; values that are no positive numbers are left out.
    """
    measured = [each.get(name) for each in conditions for name in ("work_s", "work_during_s")]
    times = [value for values in measured if isinstance(values, list) for value in values]
    return [value for value in times if isinstance(value, float) and value > 0]


def json_bytes(values: object) -> bytes:
    """JSON values as a file that people can read."""
    return (json.dumps(values, indent=1, allow_nan=False) + "\n").encode()
