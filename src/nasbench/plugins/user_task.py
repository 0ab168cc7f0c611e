"""A user's own task: a TOML file that names data, columns and a model (``nasbench run --task my-task.toml``).

.. code-block:: toml

    name = "reviews"              # the file's name unless given
    kind = "classification"       # or "regression", "multiple_choice"
    metric = "accuracy"           # or "f1", "matthews"; "spearman", "pearson" for a regression
    other_metrics = ["matthews"]
    budget_s = 1500
    max_length = 128              # tokens; or what the model takes, if that is less

    [data]
    train = "reviews.csv"         # .csv, .tsv, .json, .jsonl or .parquet, relative to this file
    test = "reviews-test.csv"     # a fixed fifth of train is put aside unless given
    text = "review"               # two columns for pairs; start and endings for multiple choice
    label = "sentiment"           # every row needs one
    labels = ["bad", "good"]      # the classes in order; sorted, or in the model's own order, unless given

    [model]
    folder = "my-model"           # of any saved BERT or RoBERTa, relative to this file
    fine_tuning = {learning_rate = 2e-5, batch_size = 16, epochs = 3, warmup = 0.06, weight_decay = 0.01}
    super_network = {epochs = 8}  # of ws-nas, whose networks share the steps; as fine_tuning but for what is given

Instead of files ``data`` may name a data set on the hub with ``hub``, ``configuration``, ``revision``, ``train_split``
and ``test_split``, and ``model`` a network with ``hub`` and ``revision``.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

from nasbench.data.sources import class_names, read_columns
from nasbench.declarations.model import Model, TrainingConfiguration
from nasbench.declarations.task import DataSource, MetricName, Task
from nasbench.errors import UnknownName, UserError
from nasbench.networks.pretrained import n_positions, weights_folder
from nasbench.plugins import registry

_DEFAULT_BUDGET_S = 1_500.0
_DEFAULT_MAX_LENGTH = 128
_KINDS = ("classification", "regression", "multiple_choice")
_CORRELATIONS = ("spearman", "pearson")
_ARCHITECTURES = ("bert", "roberta")
_NUMBER = (int, float)


class _Table:
    """One table of the file; remembers where it is and which keys were asked for."""

    def __init__(self, values: dict[str, Any], place: str, known: tuple[str, ...]) -> None:
        for key in values:
            if key not in known:
                raise UnknownName(f"key in {place}:", key, known)
        self._values, self._place = values, place

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        value = self._values.get(key, default)
        # A bool is an int to Python, to nobody else.
        if value is not default and (not isinstance(value, kind) or isinstance(value, bool)):
            names = " or ".join(t.__name__ for t in (kind if isinstance(kind, tuple) else (kind,)))
            raise UserError(f"{self._place}: {key} must be {names}, not {value!r}")
        return value

    def need(self, key: str, kind: type | tuple[type, ...]) -> Any:
        if key not in self._values:
            raise UserError(f"{self._place}: {key} is missing")
        return self.get(key, kind)

    def names(self, key: str) -> tuple[str, ...]:
        """A text or a list of texts."""
        value = self.get(key, (str, list), [])
        names = (value,) if isinstance(value, str) else tuple(value)
        if not all(isinstance(name, str) for name in names):
            raise UserError(f"{self._place}: {key} must be texts, not {value!r}")
        return names

    def table(self, key: str, known: tuple[str, ...]) -> _Table:
        return _Table(self.get(key, dict, {}), f"{self._place}, [{key}]", known)

    def error(self, text: str) -> UserError:
        return UserError(f"{self._place}: {text}")


def load_user_task(path: Path) -> tuple[Task, Model]:
    """The task and the model that a TOML file declares.

    Text labels become classes in sorted order; where the labels are just those the saved model knows (``id2label``), in
    the model's own order, so that a classifier that is already trained keeps its meaning.

    Raises:
        UserError: one line that names the file and the key, or what is wrong with the data or model it points to.
    """
    top = _read(path)
    kind = _kind(top)
    model, own_labels, room = _model(top, path)
    data = _data(top, path, kind)
    n_labels, data = _labels(data, kind, top, own_labels)
    task = Task(
        name=_name(top, path),
        summary=f"own task of {path.name}",
        kind=kind,
        n_labels=n_labels,
        metric=_metric(top, kind, n_labels),
        other_metrics=tuple(_known_metric(top, name, kind, n_labels) for name in top.names("other_metrics")),
        data=data,
        budgets=dict.fromkeys((("user", "cpu"), ("user", "gpu")), _budget_s(top)),
        default_models={"cpu": model.name, "gpu": model.name},
        max_length=_max_length(top, room),
    )
    return task, model


def _read(path: Path) -> _Table:
    known = ("name", "kind", "metric", "other_metrics", "budget_s", "max_length", "data", "model")
    try:
        return _Table(tomllib.loads(path.read_text(encoding="utf-8-sig")), str(path), known)
    except FileNotFoundError:
        raise UserError(f"no task file {path}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as TOML ({error})") from error


def _name(top: _Table, path: Path) -> str:
    name = _slug(top.get("name", str, path.stem))
    if name in registry.tasks():
        raise top.error(f"there is a task {name!r} already (nasbench tasks); give this one another name")
    return name


def _kind(top: _Table) -> Any:
    default = "regression" if top.get("metric", str) in _CORRELATIONS else "classification"
    kind = top.get("kind", str, default)
    if kind not in _KINDS:
        raise UnknownName("kind of task", kind, _KINDS)
    return kind


def _metric(top: _Table, kind: str, n_labels: int) -> MetricName:
    return _known_metric(
        top, top.get("metric", str, "spearman" if kind == "regression" else "accuracy"), kind, n_labels
    )


def _known_metric(top: _Table, name: str, kind: str, n_labels: int) -> MetricName:
    if name not in get_args(MetricName):
        raise UnknownName("metric", name, get_args(MetricName))
    if (name in _CORRELATIONS) != (kind == "regression"):
        raise top.error(f"metric {name!r} does not fit a {kind.replace('_', ' ')}")
    if name == "f1" and n_labels != 2:
        raise top.error(f"metric 'f1' needs two classes, the labels have {n_labels}; take accuracy or matthews")
    return name  # type: ignore[return-value]


def _data(top: _Table, path: Path, kind: str) -> DataSource:
    top.need("data", dict)
    local, hub = ("train", "test"), ("hub", "configuration", "revision", "train_split", "test_split")
    table = top.table("data", (*local, *hub, "text", "label", "labels"))
    table.need("text", (str, list))
    columns = table.names("text")
    fits = len(columns) >= 3 if kind == "multiple_choice" else len(columns) in (1, 2)
    if not fits:
        due = "a start and at least two endings" if kind == "multiple_choice" else "one column, or two for pairs"
        raise table.error(f"text must name {due}, not {len(columns)}")
    label = table.need("label", str)
    if len({*columns, label}) <= len(columns):
        raise table.error(f"text and label must name different columns, not {', '.join((*columns, label))}")
    if ("train" in table) == ("hub" in table):
        raise table.error("name either train (a file) or hub (a data set)")
    if "train" in table:
        mixed = next((key for key in hub if key in table), None)
        if mixed:
            raise table.error(f"{mixed} belongs to a data set on the hub, not to files")
        files = {key: str(path.parent / table.get(key, str)) for key in local if key in table}
        return DataSource(columns, label, local_files=files, label_names=table.names("labels"))
    return DataSource(
        columns,
        label,
        repository=table.get("hub", str),
        configuration=table.get("configuration", str),
        revision=table.get("revision", str),
        train_split=table.get("train_split", str, "train"),
        test_split=table.get("test_split", str, "validation"),
        label_names=table.names("labels"),
    )


def _labels(data: DataSource, kind: str, top: _Table, own_labels: tuple[str, ...]) -> tuple[int, DataSource]:
    """How many classes there are, and the source with their names."""
    names = data.label_names
    if kind == "regression":
        if names:
            raise top.error("labels are the names of classes, a regression has none")
        return 1, data
    if names and (len(set(names)) != len(names) or len(names) < 2):
        raise top.error("labels must be two or more different names")
    if kind == "multiple_choice":
        n_endings = len(data.text_columns) - 1
        if names and len(names) != n_endings:
            raise top.error(f"labels must name each of the {n_endings} endings, not {len(names)}")
        return n_endings, data
    if not names:
        names = _found_labels(data, top.get("name", str, "own task"), own_labels)
    return len(names), dataclasses.replace(data, label_names=names)


def _found_labels(data: DataSource, name: str, own_labels: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the classes in the train rows, in order."""
    table, place = read_columns(data, name, "train", None, named_labels=True)
    where = f"{place}, column {data.label_column!r}"
    names = set(class_names(table.column(data.label_column), where))
    if len(names) < 2:
        raise UserError(f"{where}: holds fewer than two classes")
    if len(names) > max(2, table.num_rows // 2):
        raise UserError(
            f"{where}: has {len(names)} different labels in {table.num_rows} rows; name the column of the classes in "
            "label, or list the classes in labels"
        )
    return own_labels if names == set(own_labels) else tuple(sorted(names, key=_numbers_first))


def _numbers_first(name: str) -> tuple[int, float, str]:
    """-1 before 1 and 9 before 10, as a reader of numbers sorts; texts by their letters."""
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name


def _model(top: _Table, path: Path) -> tuple[Model, tuple[str, ...], int]:
    """The model, the names of the classes it was trained for, if it knows any, and the tokens it takes."""
    top.need("model", dict)
    table = top.table("model", ("hub", "revision", "folder", "fine_tuning", "super_network"))
    if ("hub" in table) == ("folder" in table):
        raise table.error("name either folder (a saved model) or hub (a repository)")
    folder, hub_id = table.get("folder", str), table.get("hub", str)
    fine_tuning = _fine_tuning(table, "fine_tuning", TrainingConfiguration())
    model = Model(
        name=_slug(Path(folder).name if folder else hub_id.rsplit("/", 1)[-1]),
        summary=f"own model {folder or hub_id}",
        architecture="bert",
        track="user",
        hub_id=hub_id,
        revision=table.get("revision", str),
        local_folder=str(path.parent / folder) if folder else None,
        fine_tuning=fine_tuning,
        super_network=_fine_tuning(table, "super_network", fine_tuning),
    )
    where = weights_folder(model)
    try:
        config = json.loads((where / "config.json").read_text(encoding="utf-8"))
        architecture, labels = config.get("model_type"), config.get("id2label", {})
        if architecture not in _ARCHITECTURES:
            raise UserError(f"{where}: the network is a {architecture}, only BERT and RoBERTa can be pruned")
        own_labels = tuple(str(labels[key]) for key in sorted(labels, key=int))
        room = n_positions(config)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{where / 'config.json'}: not the configuration of a saved model ({error})") from error
    return dataclasses.replace(model, architecture=architecture), own_labels, room


def _fine_tuning(model: _Table, key: str, otherwise: TrainingConfiguration) -> TrainingConfiguration:
    """What is declared under a key; of what is not, that of another declaration."""
    fields = {name: type(value) for name, value in dataclasses.asdict(otherwise).items()}
    table = model.table(key, tuple(fields))
    kinds = {name: int if kind is int else _NUMBER for name, kind in fields.items()}
    try:
        return dataclasses.replace(
            otherwise, **{name: kind(table.get(name, kinds[name])) for name, kind in fields.items() if name in table}
        )
    except ValueError as error:
        raise table.error(str(error)) from error


def _budget_s(top: _Table) -> float:
    value = float(top.get("budget_s", _NUMBER, _DEFAULT_BUDGET_S))
    if not 0 < value < float("inf"):
        raise top.error(f"budget_s must be a positive number of seconds, not {value:g}")
    return value


def _max_length(top: _Table, room: int) -> int:
    """Tokens at which texts are cut.

    Args:
        room: what the model takes.
    """
    value: int = top.get("max_length", int, min(_DEFAULT_MAX_LENGTH, room))
    if not 0 < value <= room:
        raise top.error(f"max_length must be 1 to {room}, which is what the model takes, not {value}")
    return value


def _slug(name: str) -> str:
    """Fit for a folder of results."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "own"
