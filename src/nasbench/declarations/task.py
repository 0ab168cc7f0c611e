"""Declarations: what is benchmarked. Frozen data, no behaviour that reads a file or a clock.

A :class:`Task` names a data set, its metric and its budgets; a :class:`Model` names a pre-trained network. A cell of
the benchmark is a (task, model, device class) triple. Declarations are versioned by name (``rte``, later ``rte.v2``)
and never edited, so that records of one name stay comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nasbench.declarations.model import DeviceClass, Model, Track

MetricName = Literal["accuracy", "f1", "matthews", "spearman", "pearson"]

OBJECTIVES = ("error", "params")
REFERENCE_POINT = (2.0, 2.0)
"""Of the hypervolume, after quantile normalisation of both objectives to [0, 1] (section 4.1 of the paper)."""


@dataclass(frozen=True)
class DataSource:
    """Where the rows of a task are and which columns matter.

    Attributes:
        repository: data set on the hub, None for embedded and local ones.
        configuration: the hub's configuration name (``rte`` of ``nyu-mll/glue``).
        revision: the pinned commit on the hub.
        folder: the folder below ``--data-dir``: ``<folder>/<split>.parquet``.
        text_columns: one column for single sentences, two for pairs. For multiple choice the first is the shared
            start, the others are the endings.
        label_column: holds integer classes, or floats for a regression.
        train_split, test_split: the public splits that serve as train + validation and as test.
        generator: an embedded generator instead of files, as ``module:function``. The function is given ``train`` or
            ``test`` and answers with a list per column.
        local_files: a user's own files, by ``train`` and ``test``. Without ``test`` a fixed fifth of the rows is put
            aside for it.
        label_names: the labels as they are written in the source, in the order of the classes; empty where the source
            has the integers 0, 1, 2, ... themselves.
        label_range: lowest and highest label of a regression.
        n_rows: rows of the complete train and test splits; a source with other numbers makes a run unofficial.
    """

    text_columns: tuple[str, ...]
    label_column: str = "label"
    repository: str | None = None
    configuration: str | None = None
    revision: str | None = None
    folder: str | None = None
    train_split: str = "train"
    test_split: str = "validation"
    generator: str | None = None
    local_files: Mapping[str, str] = field(default_factory=dict)
    label_names: tuple[str, ...] = ()
    label_range: tuple[float, float] | None = None
    n_rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class Task:
    """A data set, how it is split, how it is scored and how long a method may take.

    Attributes:
        n_labels: classes; 1 for a regression; the number of endings for multiple choice.
        kind: ``multiple_choice`` puts each ending through the network with one logit each.
        metric: the primary one; error = 1 - metric. ``other_metrics`` are recorded beside it.
        validation_fraction: part of the public train split that becomes the validation split.
        validation_limit: at most so many validation examples, drawn once a data seed without replacement.
        budgets: official seconds by (track, device class); section 6 of the reference.
        default_models: the model used when none is asked for, by device class.
        track: where its runs are compared, whatever the model; None for the model's track.
    """

    name: str
    summary: str
    kind: Literal["classification", "regression", "multiple_choice"]
    n_labels: int
    metric: MetricName
    data: DataSource
    budgets: Mapping[tuple[Track, DeviceClass], float]
    default_models: Mapping[DeviceClass, str]
    other_metrics: tuple[MetricName, ...] = ()
    validation_fraction: float = 0.3
    validation_limit: int | None = None
    max_length: int = 128
    default_space: str = "small"
    track: Track | None = None

    @property
    def n_logits(self) -> int:
        """Outputs of the classifier for one sequence."""
        return 1 if self.kind == "multiple_choice" else self.n_labels

    def track_of(self, model: Model) -> Track:
        """The track in which runs of a model on this task are compared."""
        return self.track or model.track

    def budget_s(self, model: Model, device_class: DeviceClass) -> float | None:
        """Seconds that are declared for a model on this task; None if nothing is."""
        return self.budgets.get((self.track_of(model), device_class))
