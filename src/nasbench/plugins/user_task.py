"""A user's own task: a TOML file that names data, columns and a model (``nasbench run --task my-task.toml``).

.. code-block:: toml

    name = "reviews"              # default: the file's name
    kind = "classification"       # or "regression", "multiple_choice"
    metric = "accuracy"           # or "f1" (of the second class), "macro_f1", "balanced_accuracy", "auc", "matthews";
                                  # "spearman", "pearson" for a regression
    other_metrics = ["matthews"]  # only recorded; for a regression also "rmse", "mae"
    budget_s = 1500
    max_length = 128              # tokens; default: 128, or fewer if the model takes fewer

    [data]
    train = "reviews.csv"         # relative to this file; CONTRIBUTING.md lists the formats
    validation = "reviews-dev.csv"  # default: 30 % of the remaining rows of train, drawn anew for each seed
    test = "reviews-test.csv"     # default: a fixed fifth of train
    validation_limit = 2000       # largest number of validation rows; default: 5000
    stratify = true               # every class has the same share of validation and of a test taken from the rows
    group = "author"              # instead: rows with the same value of this column stay in one split
    drop_empty = true             # drop rows without a text or label; default: they are errors
    separator = ";"               # of CSV files; default: the one that the header shows
    quoting = false               # double quotes are part of the texts; default: only in tab-separated files
    escape = '\\'                 # the character before a quote inside a cell; default: such quotes are doubled
    encoding = "cp1252"           # default: UTF-8, or UTF-16 or UTF-32 with a byte-order mark
    text = "review"               # two columns for pairs; start and endings for multiple choice
    label = "sentiment"           # every row needs a label
    labels = ["bad", "good"]      # the classes in order of the model's outputs; default: its own order, or sorted

    [model]
    folder = "my-model"           # a saved network, relative to this file; nasbench models --architectures
    fine_tuning = {learning_rate = 2e-5, batch_size = 16, epochs = 3, warmup = 0.06, weight_decay = 0.01}
    super_network = {epochs = 8}  # training of a super-network (ws-nas); default for each key: fine_tuning

Instead of files, ``data`` may name a data set on the hub with ``hub``, ``configuration``, ``revision``,
``train_split``, ``validation_split`` and ``test_split``. Instead of a folder, ``model`` may name a network on the hub
with ``hub`` and ``revision``.
:mod:`nasbench.plugins.task_file` checks the keys and their types.
"""

from __future__ import annotations

import dataclasses
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

from nasbench.data.labels import class_names
from nasbench.data.sources import read_columns
from nasbench.declarations.model import Model, TrainingConfiguration
from nasbench.declarations.task import ERROR_METRICS, LANGUAGE_METRICS, DataSource, FileFormat, MetricName, Task
from nasbench.errors import UserError
from nasbench.networks.output_labels import in_output_order
from nasbench.networks.pretrained import architecture_of, cannot_prune, n_positions
from nasbench.networks.weights import weights_folder
from nasbench.plugins import registry
from nasbench.plugins.task_file import DataTable, TaskFile, TrainingTable, read_task_file, resolved, table_place

_DEFAULT_MAX_LENGTH = 128
_DEFAULT_VALIDATION_LIMIT = 5_000
"""An error rate of 10 % on this many rows has a standard error of 0.4 points."""
_OF_NUMBERS = ("spearman", "pearson", *ERROR_METRICS)


def load_user_task(path: Path) -> tuple[Task, Model]:
    """The task and the model that a TOML file declares.

    Text labels become classes in sorted order. If they are the labels that the saved model knows (``id2label``; case
    and blanks do not matter), the classes have the model's order instead. A trained classifier is reused only if the
    names say which output belongs to which class, or if ``labels`` lists the classes in the order of the outputs.

    Raises:
        UserError: one line that names the file and the key, or what is wrong with the data or the model.
    """
    file = read_task_file(path)
    kind: Any = file.kind or ("regression" if file.metric in _OF_NUMBERS else "classification")
    model, own_labels, room = _model(file, path)
    n_labels, data = _labels(_data(file.data, path, kind), kind, file, path, own_labels)
    metric: MetricName = file.metric or ("spearman" if kind == "regression" else "accuracy")
    for name in (metric, *file.other_metrics):
        _check_metric(name, kind, n_labels, path)
    if metric in ERROR_METRICS:
        raise UserError(f"{path}: {metric} is smaller for better networks; name it in other_metrics, not in metric")
    task = Task(
        name=_name(file, path),
        summary=f"own task of {path.name}",
        kind=kind,
        n_labels=n_labels,
        metric=metric,
        other_metrics=file.other_metrics,
        data=data,
        budgets=dict.fromkeys((("user", "cpu"), ("user", "gpu")), file.budget_s),
        default_models={"cpu": model.name, "gpu": model.name},
        max_length=_max_length(file, path, room),
        validation_limit=file.data.validation_limit or _DEFAULT_VALIDATION_LIMIT,
    )
    return task, model


def _name(file: TaskFile, path: Path) -> str:
    name = _slug(path.stem if file.name is None else file.name)
    if name in registry.tasks():
        raise UserError(f"{path}: there is a task {name!r} already (nasbench tasks); give this one another name")
    return name


def _check_metric(name: MetricName, kind: str, n_labels: int, path: Path) -> None:
    fits = (name in _OF_NUMBERS) == (kind == "regression") and name not in LANGUAGE_METRICS
    if not fits or (name == "auc" and kind == "multiple_choice"):
        raise UserError(f"{path}: metric {name!r} does not fit a {kind.replace('_', ' ')}")
    if name == "f1" and n_labels != 2:
        raise UserError(
            f"{path}: metric 'f1' needs two classes, but there are {n_labels}; choose macro_f1, accuracy or matthews"
        )


def _data(table: DataTable, path: Path, kind: str) -> DataSource:
    columns = table.text
    fits = len(columns) >= 3 if kind == "multiple_choice" else len(columns) in (1, 2)
    if not fits:
        due = "a start and at least two endings" if kind == "multiple_choice" else "one column, or two for pairs"
        raise UserError(f"{table_place(path, 'data')}: text must name {due}, not {len(columns)}")
    if table.hub is None:
        named = {"train": table.train, "validation": table.validation, "test": table.test}
        place = table_place(path, "data")
        files = {split: resolved(name, path, f"{place}: {split}") for split, name in named.items() if name is not None}
        return DataSource(
            columns,
            table.label,
            local_files=files,
            file_format=FileFormat(table.separator, table.quoting, table.escape, table.encoding),
            drop_empty=table.drop_empty,
            stratify=table.stratify,
            group_column=table.group,
            label_names=table.labels,
        )
    return DataSource(
        columns,
        table.label,
        repository=table.hub,
        configuration=table.configuration,
        revision=table.revision,
        train_split=table.train_split,
        validation_split=table.validation_split,
        test_split=table.test_split,
        drop_empty=table.drop_empty,
        stratify=table.stratify,
        group_column=table.group,
        label_names=table.labels,
    )


def _labels(
    data: DataSource, kind: str, file: TaskFile, path: Path, own_labels: tuple[str, ...]
) -> tuple[int, DataSource]:
    """The number of classes, and the source with their names."""
    names = data.label_names
    if data.stratify and kind == "regression":
        raise UserError(f"{path}: stratify needs classes, but a regression has none; leave it out")
    if kind == "regression":
        if names:
            raise UserError(f"{path}: labels are names of classes, but a regression has no classes")
        return 1, data
    if names and (len(set(names)) != len(names) or len(names) < 2):
        raise UserError(f"{path}: labels must be two or more different names")
    if kind == "multiple_choice":
        n_endings = len(data.text_columns) - 1
        if names and len(names) != n_endings:
            raise UserError(f"{path}: labels must name each of the {n_endings} endings, not {len(names)}")
        return n_endings, data
    if not names:
        names = _found_labels(data, file.name or "own task", own_labels)
    return len(names), dataclasses.replace(data, label_names=names, names_in_output_order=bool(data.label_names))


def _found_labels(data: DataSource, name: str, own_labels: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the classes in the train rows, in order."""
    table, place, _ = read_columns(data, name, "train", None, named_labels=True)
    where = f"{place}, column {data.label_column!r}"
    names = set(class_names(table.column(data.label_column), where))
    if len(names) < 2:
        raise UserError(f"{where}: holds fewer than two classes")
    if len(names) > max(2, table.num_rows // 2):
        raise UserError(
            f"{where}: has {len(names)} different labels in {table.num_rows} rows; name the column of the classes in "
            "label, or list the classes in labels"
        )
    return in_output_order(sorted(names, key=_numbers_first), own_labels)


def _numbers_first(name: str) -> tuple[int, float, str]:
    """A sort key: numbers by value (-1, 1, 9, 10), then texts alphabetically."""
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name


def _model(file: TaskFile, path: Path) -> tuple[Model, tuple[str, ...], int]:
    """The model, the names of the classes that it was trained for, and the number of tokens that it takes."""
    table = file.model
    fine_tuning = _training(table.fine_tuning, TrainingConfiguration(), path, "fine_tuning")
    model = Model(
        name=_slug(Path(table.folder).name if table.folder else str(table.hub).rsplit("/", 1)[-1]),
        summary=f"own model {table.folder or table.hub}",
        architecture="bert",
        track="user",
        hub_id=table.hub,
        revision=table.revision,
        local_folder=resolved(table.folder, path, f"{table_place(path, 'model')}: folder") if table.folder else None,
        fine_tuning=fine_tuning,
        super_network=_training(table.super_network, fine_tuning, path, "super_network"),
    )
    where = weights_folder(model)
    try:
        config = json.loads((where / "config.json").read_text(encoding="utf-8"))
        architecture, labels = architecture_of(config.get("model_type")), config.get("id2label", {})
        if architecture is None:
            raise cannot_prune(where, config.get("model_type"))
        own_labels = tuple(str(labels[key]) for key in sorted(labels, key=int))
        room = n_positions(config)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{where / 'config.json'}: not the configuration of a saved model ({error})") from error
    return dataclasses.replace(model, architecture=architecture), own_labels, room


def _training(table: TrainingTable, default: TrainingConfiguration, path: Path, key: str) -> TrainingConfiguration:
    """The configuration that a table declares. Keys that it lacks keep their default."""
    try:
        return dataclasses.replace(default, **table.model_dump(exclude_unset=True))
    except ValueError as error:
        raise UserError(f"{table_place(path, 'model', key)}: {error}") from error


def _max_length(file: TaskFile, path: Path, room: int) -> int:
    """The number of tokens at which texts are cut.

    Args:
        room: the number of tokens that the model takes.
    """
    value = min(_DEFAULT_MAX_LENGTH, room) if file.max_length is None else file.max_length
    if not 0 < value <= room:
        raise UserError(f"{path}: max_length must be 1 to {room}, which is what the model takes, not {value}")
    return value


def _slug(name: str) -> str:
    """The name with everything replaced that does not fit into a folder's name."""
    # Letters of every script stay; the form with composed letters is the same on every file system.
    return re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", name)).strip("-.") or "own"
