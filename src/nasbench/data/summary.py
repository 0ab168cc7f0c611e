"""What the splits of a task hold, so that a user sees mistakes in the data before any time is spent on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nasbench.data.sources import Rows
from nasbench.declarations.task import Task

_FEW_ROWS = 50
"""Below this number of validation or test rows, one row moves a metric by 2 points or more."""
_MOST_CLASSES = 20
"""Classes that a line of :meth:`DataSummary.lines` names."""
_MOST_RECORDED_CLASSES = 100
_MUCH_TRUNCATED = 0.2
"""Share of truncated texts above which a note says so."""

_Part = tuple[Rows, npt.NDArray[np.bool_], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class SplitSummary:
    """What one split holds.

    Attributes:
        rows: number of examples.
        classes: number of examples of each class, by its name, or of each right ending; empty for a regression and for
            text.
        targets: lowest, mean and highest target of a regression, else None.
        truncated: share of the examples that are longer than the task's ``max_length``.
        repeated: number of examples whose texts occur earlier in the same split.
    """

    rows: int
    classes: dict[str, int]
    targets: tuple[float, float, float] | None
    truncated: float
    repeated: int

    @property
    def majority(self) -> tuple[str, float] | None:
        """The most frequent class and its share; None for a regression and for text."""
        if not self.classes:
            return None
        name = max(self.classes, key=self.classes.__getitem__)
        return name, self.classes[name] / self.rows


@dataclass(frozen=True)
class DataSummary:
    """What the splits of a task hold.

    Attributes:
        splits: by name: train, validation, test.
        shared: number of examples of one split whose texts are in an earlier split, by ``validation in train`` etc.
        positive_class: the class whose F1 is measured, None if F1 is not measured.
        notes: what looks wrong in the data, one remark a line.
    """

    splits: dict[str, SplitSummary]
    shared: dict[str, int]
    positive_class: str | None = None
    max_length: int = 0
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The field ``data_summary`` of ``run.json``: of more than 100 classes, the most frequent ones of train."""
        frequent = Counter(self.splits["train"].classes).most_common(_MOST_RECORDED_CLASSES)
        return {
            "splits": {
                name: {
                    "rows": split.rows,
                    "classes": {_clean(label): split.classes[label] for label, _ in frequent},
                    "targets": None if split.targets is None else list(split.targets),
                    "truncated": split.truncated,
                    "repeated": split.repeated,
                    "majority": None if split.majority is None else split.majority[1],
                }
                for name, split in self.splits.items()
            },
            "shared": self.shared,
            "n_classes": len(self.splits["train"].classes),
            "positive_class": None if self.positive_class is None else _clean(self.positive_class),
            "max_length": self.max_length,
            "notes": [_clean(note) for note in self.notes],
        }

    def lines(self) -> Iterator[str]:
        """The summary for a terminal, without the notes."""
        yield "data: " + ", ".join(f"{split.rows:,} {name}" for name, split in self.splits.items()) + " rows"
        train = self.splits["train"]
        if train.targets is not None:
            low, mean, high = train.targets
            yield f"targets: {low:g} to {high:g}, mean {mean:g}"
        elif train.classes:
            shown = list(train.classes.items())[:_MOST_CLASSES]
            more = f" and {len(train.classes) - len(shown)} more" if len(train.classes) > len(shown) else ""
            shares = ", ".join(f"{name} {_percent(n / train.rows)}" for name, n in shown)
            majority = ", ".join(
                f"{split.majority[0]} {_percent(split.majority[1])} in {name}"
                for name, split in self.splits.items()
                if name != "train" and split.majority is not None
            )
            yield f"classes: {shares}{more}; most frequent: {majority}"
        if self.positive_class is not None:
            yield f"F1 is that of the class {self.positive_class}"
        cut = {name: split.truncated for name, split in self.splits.items() if split.truncated}
        if cut:
            shares = ", ".join(f"{_percent(share)} of {name}" for name, share in cut.items())
            yield f"cut at max_length = {self.max_length} tokens: {shares}"
        found = [f"{split.repeated:,} in {name}" for name, split in self.splits.items() if split.repeated]
        found += [f"{n:,} of {name.replace(' in ', ' are in ')}" for name, n in self.shared.items() if n]
        if found:
            yield f"repeated texts: {', '.join(found)}"


def summarise(task: Task, parts: Mapping[str, _Part]) -> DataSummary:
    """The summary of the splits.

    Args:
        parts: by split, the rows of its source, whether each of their sequences is cut (``(n_sequences,)``), and the
            positions of the split's rows in the source.
    """
    names = task.classes
    splits, texts = {}, {}
    for name, (rows, is_cut, indices) in parts.items():
        # dict.fromkeys keeps one key per text. Rows of a pair count as repeated if both texts are equal.
        texts[name] = [tuple(column[i] for column in rows.texts) for i in indices]
        splits[name] = _split(task, names, rows.labels[indices], is_cut.reshape(len(rows), -1)[indices], texts[name])
    shared = _shared(texts)
    return DataSummary(
        splits=splits,
        shared=shared,
        positive_class=names[1] if "f1" in (task.metric, *task.other_metrics) else None,
        max_length=task.max_length,
        notes=tuple(_notes(task, names, parts, splits, shared)),
    )


def _split(
    task: Task, names: tuple[str, ...], labels: npt.NDArray[Any], is_cut: npt.NDArray[np.bool_], texts: list[Any]
) -> SplitSummary:
    is_regression = task.kind == "regression"
    counts = np.bincount(labels, minlength=len(names)).tolist() if names else []
    values = labels.astype(np.float64)
    return SplitSummary(
        rows=len(labels),
        classes=dict(zip(names, counts, strict=True)) if counts else {},
        targets=(float(values.min()), float(values.mean()), float(values.max())) if is_regression else None,
        truncated=float(is_cut.any(axis=1).mean()),
        repeated=len(texts) - len(set(texts)),
    )


def _shared(texts: Mapping[str, list[Any]]) -> dict[str, int]:
    """The number of examples of each split whose texts are in each earlier split."""
    known = {name: set(values) for name, values in texts.items()}
    order = list(texts)
    return {
        f"{later} in {earlier}": sum(text in known[earlier] for text in texts[later])
        for position, later in enumerate(order)
        for earlier in order[:position]
    }


def _notes(
    task: Task,
    names: tuple[str, ...],
    parts: Mapping[str, _Part],
    splits: Mapping[str, SplitSummary],
    shared: Mapping[str, int],
) -> Iterator[str]:
    yield from dict.fromkeys(note for rows, _, _ in parts.values() for note in rows.notes)
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault("".join(name.split()).casefold(), []).append(name)
    for same in alike.values():
        if len(same) > 1:
            yield f"the classes {' and '.join(map(repr, same))} differ only in case or blanks; are they the same class?"
    if task.kind == "classification":
        for name in names:
            total = sum(split.classes[name] for split in splits.values())
            absent = [split for split, found in splits.items() if not found.classes[name]]
            if total == 1:
                yield f"class {name!r} has a single row"
            elif absent:
                yield f"class {name!r} has no row in {' and '.join(absent)}"
    if shared["test in train"] + shared["test in validation"] >= splits["test"].rows:
        yield "all test texts are also in train or validation, so the test error says nothing about new texts"
    elif n := shared["test in train"]:
        share = _percent(n / splits["test"].rows)
        yield f"{n} test texts ({share}) are also in train, so the test error is too low for new texts"
    for split in ("validation", "test"):
        if splits[split].rows < _FEW_ROWS:
            n_rows = f"{splits[split].rows} row" + "s" * (splits[split].rows != 1)
            yield f"only {n_rows} in {split}: one row is {_percent(1 / splits[split].rows)} of them"
    different = _contradictions(parts)
    if different and names:
        yield f"{different} {'text has' if different == 1 else 'texts have'} different labels in different rows"
    if (cut := splits["train"].truncated) > _MUCH_TRUNCATED:
        yield f"{_percent(cut)} of the train texts are cut at max_length = {task.max_length} tokens"


def _contradictions(parts: Mapping[str, _Part]) -> int:
    """Number of different texts with more than one label."""
    pairs = {
        (tuple(column[i] for column in rows.texts), rows.labels[i].item())
        for rows, _, indices in parts.values()
        for i in indices
    }
    return sum(n > 1 for n in Counter(text for text, _ in pairs).values())


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _clean(text: str) -> str:
    """The text without characters that a record cannot hold."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
