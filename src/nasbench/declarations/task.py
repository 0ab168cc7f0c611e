"""Declarations of tasks and data sources. Frozen data; nothing here reads a file or a clock.

A :class:`Task` names a data set, its metric and its budgets; a :class:`Model` names a pre-trained network. A scenario
of the benchmark is a task, a model and a device class (``stsb/minilm-l6/cpu``). A declaration is never edited: a change
gets a new name (``rte``, later ``rte.v2``), so that records with the same name stay comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nasbench.declarations.model import DeviceClass, Model, Track

MetricName = Literal[
    "accuracy",
    "f1",
    "macro_f1",
    "balanced_accuracy",
    "auc",
    "matthews",
    "spearman",
    "pearson",
    "rmse",
    "mae",
    "compression",
    "bits_per_byte",
]
ERROR_METRICS = ("rmse", "mae", "bits_per_byte")
"""Metrics that are smaller for better networks. They can only be recorded beside the primary metric."""
LANGUAGE_METRICS = ("compression", "bits_per_byte")
"""Metrics of language models, which no other task has."""

Kind = Literal["classification", "regression", "multiple_choice", "language_modelling", "zero_shot_choice"]
"""Kind of a task. The last two need a decoder with its language model head, and no new output layer.

- ``multiple_choice``: the network gives one logit for each ending.
- ``language_modelling``: the rows are passages of running text, and the network gives the likelihood of each. With two
  text columns, the rows are a start and an ending, and only the ending counts.
- ``zero_shot_choice``: the answer is the ending with the largest likelihood after the start, or the start after which
  the ending has the largest likelihood (``choices_first``).
"""
OBJECTIVES = ("error", "params")
REFERENCE_POINT = (2.0, 2.0)
"""Reference point of the hypervolume after quantile normalisation of both objectives to [0, 1] (paper, section 4.1)."""


@dataclass(frozen=True)
class FileFormat:
    """How a user's text files are written.

    Attributes:
        separator: the character between the cells of a CSV or TSV file. None: a comma (CSV) or a tab (TSV), or another
            separator if the header shows it.
        quoting: whether double quotes enclose cells. None: yes, except between tabs under headers without quotes.
        escape: the character before a quote that does not end its cell. None: such a quote is doubled.
        encoding: Python's name of the encoding. None: UTF-8, or UTF-16 or UTF-32 if the byte-order mark says so.
    """

    separator: str | None = None
    quoting: bool | None = None
    escape: str | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class DataSource:
    """Where the rows of a task come from and which columns are used.

    Attributes:
        repository: data set on the Hugging Face hub, None for embedded and local data.
        configuration: the hub's name of the configuration (``rte`` of ``nyu-mll/glue``).
        revision: the pinned commit on the hub.
        folder: folder below ``--data-dir`` with the files ``<split>.parquet``.
        text_columns: one column for single sentences, two for pairs. For tasks with endings, the first column holds the
            shared start and the others hold the endings. ``choices.1`` is item 1 of a column ``choices`` of lists.
        label_column: column of integer classes, or of floats for a regression.
        train_folder: folder below ``--data-dir`` with the train split, if that is another one.
        train_split: name of the public split that is divided into train and validation.
        test_split: name of the public split that is the test. None: half of the rows of ``train_split``, which are
            the same for every data seed.
        validation_split: name of the public split that is the validation split. None: a part of the train split.
        generator: a function that replaces files, as ``module:function``. It takes ``train`` or ``test`` and returns a
            dict of columns, each a list.
        local_files: paths of a user's own files, by ``train``, ``validation`` and ``test``. Without ``validation``, a
            part of ``train`` becomes the validation split. Without ``test``, a fixed fifth of the rows of ``train``
            becomes the test.
        file_format: how the local files are written.
        drop_empty: whether rows without a text or without a label are dropped. Otherwise, they are errors.
        label_names: labels as the source spells them, in the order of the classes. Empty if the source holds the
            integers 0, 1, 2, ...
        names_in_output_order: whether a user has listed ``label_names`` in the order of the outputs of a trained
            classifier. Only then is a classifier reused whose own names for its outputs are unknown or different.
        stratify: whether every class has the same share of validation (and of a test taken from the train rows).
        group_column: a column of names. Rows of one group are never divided between train, validation and a test taken
            from the train rows.
        label_range: lowest and highest label of a regression.
        n_rows: rows of the complete train and test splits. A source with other numbers of rows makes a run unofficial.
    """

    text_columns: tuple[str, ...]
    label_column: str = "label"
    repository: str | None = None
    configuration: str | None = None
    revision: str | None = None
    folder: str | None = None
    train_folder: str | None = None
    train_split: str = "train"
    test_split: str | None = "validation"
    validation_split: str | None = None
    generator: str | None = None
    local_files: Mapping[str, str] = field(default_factory=dict)
    file_format: FileFormat = FileFormat()
    drop_empty: bool = False
    label_names: tuple[str, ...] = ()
    names_in_output_order: bool = False
    stratify: bool = False
    group_column: str | None = None
    label_range: tuple[float, float] | None = None
    n_rows: tuple[int, int] | None = None

    @property
    def is_users_own(self) -> bool:
        """Whether they are a user's own data: files, or a repository without the folder that a declared task has."""
        return bool(self.local_files) or (self.repository is not None and self.folder is None)


@dataclass(frozen=True)
class Task:
    """A data set, its splits, its metric and the time that a method may take.

    Attributes:
        n_labels: number of classes; 1 for a regression or language modelling; the number of endings for a choice.
        kind: see :data:`Kind`.
        metric: the primary metric; error = 1 - metric. The ``other_metrics`` are only recorded.
        validation_fraction: fraction of the public train split that becomes the validation split.
        validation_limit: the largest number of validation examples, drawn without replacement for each data seed.
        train_limit: the largest number of train examples, likewise; None for all.
        test_limit: the largest number of test examples. The same ones are drawn for every data seed.
        budgets: official budgets in seconds, by (track, device class).
        default_models: the model of a run that names none, by device class.
        track: the track of all runs on this task, whatever the model. None leaves the track to the model.
        max_length: tokens at which texts are cut. Passages of a language model have fewer bytes than this, so that no
            tokenizer of bytes makes more tokens of them.
        title: name in figures and tables (``STS-B``). Empty if it is the same as ``name``.
        class_names: names of the classes for readers, where the source holds integers.
        choices_first: whether the choices of a zero-shot choice are starts, before an ending that they share. The first
            text column still holds what they share.
    """

    name: str
    summary: str
    kind: Kind
    n_labels: int
    metric: MetricName
    data: DataSource
    budgets: Mapping[tuple[Track, DeviceClass], float]
    default_models: Mapping[DeviceClass, str]
    other_metrics: tuple[MetricName, ...] = ()
    validation_fraction: float = 0.3
    validation_limit: int | None = None
    train_limit: int | None = None
    test_limit: int | None = None
    max_length: int = 128
    default_space: str = "small"
    track: Track | None = None
    title: str = ""
    class_names: tuple[str, ...] = ()
    choices_first: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, or of the endings of a choice, in order; empty if the labels are numbers."""
        if self.kind in ("regression", "language_modelling"):
            return ()
        return self.data.label_names or self.class_names or tuple(map(str, range(self.n_labels)))

    @property
    def n_logits(self) -> int:
        """Number of outputs of the classifier for one sequence."""
        return 1 if self.has_endings else self.n_labels

    @property
    def has_endings(self) -> bool:
        """Whether each example has several sequences, one for each ending."""
        return self.kind in ("multiple_choice", "zero_shot_choice")

    @property
    def needs_language_model(self) -> bool:
        """Whether the network's own predictions of tokens are measured, and no output layer is trained for the task."""
        return self.kind in ("language_modelling", "zero_shot_choice")

    @property
    def continues_texts(self) -> bool:
        """Whether each example is a start and the words that a language model has to go on with."""
        return self.kind == "language_modelling" and len(self.data.text_columns) == 2

    def track_of(self, model: Model) -> Track:
        """The track of runs with a model on this task: the task's own if it has one, else the model's."""
        return self.track or model.track

    def budget_s(self, model: Model, device_class: DeviceClass) -> float | None:
        """The declared budget of a model on this task in seconds, None if there is none."""
        return self.budgets.get((self.track_of(model), device_class))
