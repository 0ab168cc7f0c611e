"""Train, validation and test data of a task, split and tokenised.

The split depends on the contents of the data and on the data seed only. As in section 4.1 of the paper, the public
train split is divided 70/30 into train and validation, and the public validation split is the test.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasbench.data.division import divide
from nasbench.data.labels import Labels
from nasbench.data.sources import Rows, read_rows, read_validation_rows
from nasbench.data.summary import DataSummary, summarise
from nasbench.data.tokens import Tokens, tokenise
from nasbench.declarations.task import Task
from nasbench.errors import UserError

_SPLIT_STREAM = 70_30
"""Makes the random numbers of the split independent of other generators with the same seed."""


_TEST_STREAM = 1
"""The same test examples for every data seed."""


@dataclass(frozen=True)
class Split:
    """Tokenised examples without padding.

    Attributes:
        tokens: int32 ``(n_tokens,)``, all sequences concatenated.
        segments: uint8 ``(n_tokens,)``, the token type of each token; 1 for those whose likelihood counts.
        offsets: int64 ``(n_sequences + 1,)``; sequence i is ``tokens[offsets[i]:offsets[i + 1]]``.
        labels: ``(n_examples,)``, int64 classes or bytes of a passage, or float32 targets.
        n_choices: sequences per example, 1 unless the task has endings. The sequences of example i start at
            ``i * n_choices``.
        ids: int64 ``(n_examples,)``, the rank of each example in the canonical order of its source. It identifies an
            example across data seeds. Ranks in a validation split of its own are counted on from the train rows.
    """

    tokens: npt.NDArray[np.int32]
    segments: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    labels: Labels
    n_choices: int
    ids: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        n = len(self.labels)
        if len(self.offsets) != n * self.n_choices + 1 or len(self.ids) != n:
            raise ValueError(
                f"offsets {self.offsets.shape} and ids {self.ids.shape} do not fit {n} examples of "
                f"{self.n_choices} sequences"
            )
        if len(self.tokens) != self.offsets[-1] or self.segments.shape != self.tokens.shape:
            raise ValueError(
                f"tokens {self.tokens.shape} and segments {self.segments.shape} do not fit offsets up to "
                f"{self.offsets[-1]}"
            )
        # Methods get these arrays. Writing to them by mistake must raise at once.
        for array in (self.tokens, self.segments, self.offsets, self.labels, self.ids):
            array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each sequence, ``(n_sequences,)``."""
        return np.diff(self.offsets)

    def take(self, indices: npt.ArrayLike) -> Split:
        """The examples at these positions, in this order, repeats allowed.

        Args:
            indices: integers ``(n,)`` in ``[0, len(self))``.

        Raises:
            IndexError: for another shape or an index out of range.
        """
        examples = np.asarray(indices, dtype=np.int64)
        if examples.ndim != 1 or (len(examples) and not (examples.min() >= 0 and examples.max() < len(self))):
            raise IndexError(f"indices {examples.shape} must be (n,) within 0 to {len(self) - 1}")
        sequences = (examples[:, None] * self.n_choices + np.arange(self.n_choices)).ravel()
        lengths = self.lengths[sequences]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        # Old position of each token: the old start of its sequence, plus its distance from that start.
        where = np.arange(offsets[-1]) + np.repeat(self.offsets[sequences] - offsets[:-1], lengths)
        return Split(
            self.tokens[where], self.segments[where], offsets, self.labels[examples], self.n_choices, self.ids[examples]
        )


@dataclass(frozen=True)
class TaskData:
    """The three splits of a task for one data seed.

    Attributes:
        sha256: hash of the tokenised contents and the split.
        rows_sha256: hashes of the texts and labels of the train and the test source, whatever their order.
        n_rows: numbers of rows of the train and the test source.
        summary: what the splits hold, for the user.
        unofficial: reasons why results on these data are unofficial; empty if they are official.
    """

    train: Split
    validation: Split
    test: Split
    sha256: str
    rows_sha256: tuple[str, str]
    n_rows: tuple[int, int]
    summary: DataSummary
    unofficial: tuple[str, ...] = ()


def load_task_data(
    task: Task, tokenizer: Any, seed: int, data_dir: Path | None = None, cache_dir: Path | None = None
) -> TaskData:
    """Read, split and tokenise the data of a task.

    Args:
        tokenizer: a fast tokenizer of transformers.
        seed: data seed, which determines the split into train and validation.
        data_dir: see :func:`nasbench.data.sources.read_rows`.
        cache_dir: see :func:`nasbench.data.tokens.tokenise`.

    Raises:
        UserError: one line, if the data are not available or do not fit the task.
    """
    train_rows, test_rows = read_rows(task, data_dir)
    validation_rows = read_validation_rows(task, data_dir)
    if validation_rows is None:
        train_indices, validation_indices = split_indices(task, train_rows, seed)
    else:
        rng = np.random.default_rng([_SPLIT_STREAM, seed])
        train_indices = rng.permutation(len(train_rows)).astype(np.int64)
        validation_indices = rng.permutation(len(validation_rows)).astype(np.int64)[: task.validation_limit]
    n_train = len(train_indices)
    train_indices = train_indices[: task.train_limit]
    test_indices = np.arange(len(test_rows))
    if task.test_limit is not None and task.test_limit < len(test_rows):
        rng = np.random.default_rng([_SPLIT_STREAM, _TEST_STREAM])
        test_indices = np.sort(rng.permutation(test_indices)[: task.test_limit])
    sizes = len(train_indices), len(validation_indices), len(test_indices)
    if not all(sizes):
        raise UserError(
            f"task {task.name!r} has too few rows: {sizes[0]} for train, {sizes[1]} for validation and {sizes[2]} for "
            f"test; {'add groups, or leave out group' if train_rows.groups else 'add rows'}"
        )
    if task.kind in ("classification", "regression") and len(np.unique(train_rows.labels)) < 2:
        raise UserError(f"task {task.name!r}: all {len(train_rows)} rows for training have the same label; add others")
    whole_tokens, test_tokens = (tokenise(rows, task, tokenizer, cache_dir) for rows in (train_rows, test_rows))
    whole, test = _split(train_rows, task, whole_tokens), _split(test_rows, task, test_tokens)
    train = whole.take(train_indices)
    if len(test_indices) < len(test_rows):
        test = test.take(test_indices)
    if validation_rows is None:
        validation_rows, validation_tokens, validation = train_rows, whole_tokens, whole.take(validation_indices)
    else:
        validation_tokens = tokenise(validation_rows, task, tokenizer, cache_dir)
        own = _split(validation_rows, task, validation_tokens, first_id=len(train_rows))
        validation = own.take(validation_indices)
    summary = summarise(
        task,
        {
            "train": (train_rows, whole_tokens.is_cut, train_indices),
            "validation": (validation_rows, validation_tokens.is_cut, validation_indices),
            "test": (test_rows, test_tokens.is_cut, test_indices),
        },
    )
    n_available = len(train_rows) - n_train if validation_rows is train_rows else len(validation_rows)
    if n_available > len(validation_indices):
        limited = f"{len(validation_indices):,} of {n_available:,} validation rows are used (validation_limit)"
        summary = dataclasses.replace(summary, notes=(limited, *summary.notes))
    n_rows = (len(train_rows), len(test_rows))
    return TaskData(
        train=train,
        validation=validation,
        test=test,
        sha256=_sha256(train, validation, test),
        rows_sha256=(train_rows.sha256, test_rows.sha256),
        n_rows=n_rows,
        summary=summary,
        unofficial=_shortfalls(task, n_rows),
    )


def split_indices(task: Task, rows: Rows, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Ranks of the train and of the validation examples, both in random order.

    The validation split is cut to ``task.validation_limit`` examples. The rest is not used, so that the train split is
    the same with and without the limit.
    """
    rng = np.random.default_rng([_SPLIT_STREAM, seed])
    train, validation = divide(len(rows), task.validation_fraction, rng, rows.strata(task), rows.groups)
    return train, validation[: task.validation_limit]


def _split(rows: Rows, task: Task, tokens: Tokens, first_id: int = 0) -> Split:
    n_choices = len(rows.texts) - 1 if task.has_endings else 1
    ids = np.arange(first_id, first_id + len(rows))
    return Split(tokens.ids, tokens.segments, tokens.offsets, rows.labels, n_choices, ids)


def _shortfalls(task: Task, n_rows: tuple[int, int]) -> tuple[str, ...]:
    if task.data.n_rows is None:
        return ()
    counts = zip(("train", "test"), n_rows, task.data.n_rows, strict=True)
    return tuple(f"{split} data have {n} rows where {due} are due" for split, n, due in counts if n != due)


def _sha256(*splits: Split) -> str:
    digest = hashlib.sha256()
    for split in splits:
        for array in (split.tokens, split.segments, split.offsets, split.labels, split.ids):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
