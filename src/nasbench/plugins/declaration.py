"""A user's task and model as JSON, to tell two declarations of one name apart and to say what differs.

Files count by their contents, not by their folder: moving a task file with its data does not make it another task.
For files named by a pattern, all that match it count.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasbench.declarations.model import Model
from nasbench.declarations.task import Task
from nasbench.errors import UserError

_LEFT_OUT = ("summary",)
_WEIGHTS = re.compile(
    r"config\.json|.*\.safetensors|pytorch_model.*\.bin|.*vocab.*|merges\.txt|.*token.*\.json|.*\.model"
)
"""Files of a model's folder that a run reads. A model card or a checkpoint of an optimizer changes nothing."""


def declaration_of(task: Task, model: Model) -> dict[str, Any]:
    """Everything that a task and a model declare, as JSON values: ``{"task": {...}, "model": {...}}``.

    Fields with their default value are left out, so that a new field does not change old declarations. A file is
    ``{"name": ..., "sha256": ...}``, a folder likewise.

    Raises:
        UserError: if a file cannot be read.
    """
    declared = {"task": _plain(task), "model": _plain(model)}
    files = task.data.local_files or {}
    if files:
        declared["task"]["data"]["local_files"] = {split: _file(Path(path)) for split, path in sorted(files.items())}
    if model.local_folder is not None:
        declared["model"]["local_folder"] = _file(Path(model.local_folder), _WEIGHTS)
    return declared


def digest(declaration: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of a declaration."""
    return hashlib.sha256(json.dumps(declaration, sort_keys=True).encode()).hexdigest()[:8]


def differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs, one text each: ``task.max_length 128, now 64``."""
    found: list[str] = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        place = f"{prefix}{key}"
        if _is_file(old) and _is_file(new) and (old or {})["name"] == (new or {})["name"]:
            found.append(f"the contents of {_shown(old)}")
        elif all(value is None or (isinstance(value, Mapping) and not _is_file(value)) for value in (old, new)):
            found += differences(old or {}, new or {}, f"{place}.")
        else:
            found.append(f"{place} {_shown(old)}, now {_shown(new)}")
    return found


def _plain(value: Any) -> Any:
    """A declaration's value as JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field for field in dataclasses.fields(value) if field.name not in _LEFT_OUT]
        return {field.name: _plain(x) for field in fields if (x := getattr(value, field.name)) != field.default}
    if isinstance(value, Mapping):
        return {"/".join(key) if isinstance(key, tuple) else str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _file(path: Path, wanted: re.Pattern[str] | None = None) -> dict[str, str]:
    """Name and digest of a file, of the files that match a pattern, or of the wanted files below a folder."""
    try:
        base = path if path.exists() else path.parent
        found = [path] if path.is_file() else path.rglob("*") if path.is_dir() else base.glob(path.name)
        whole = hashlib.sha256()
        for inner in sorted(found):
            if inner == path or (inner.is_file() and (wanted is None or wanted.fullmatch(inner.name))):
                with inner.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                whole.update(f"{inner.relative_to(base).as_posix()} {content}\n".encode())
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error
    return {"name": path.name, "sha256": whole.hexdigest()}


def _is_file(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"name", "sha256"}


def _shown(value: Any) -> str:
    if _is_file(value):
        return str(value["name"])
    return "the default" if value is None else json.dumps(value, ensure_ascii=False)
