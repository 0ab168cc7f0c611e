"""Tiny tasks, one of each kind: generated sentences of a few made-up words, with labels that can be learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nasbench.data.sources import SplitName
from nasbench.declarations.model import DeviceClass, Track
from nasbench.declarations.task import DataSource, Task

WORDS = ("ba", "be", "bi", "bo", "da", "de", "di", "do", "ga", "ge", "gi", "go", "ka", "ke", "ki", "ko")
_N_ROWS = {"train": 96, "test": 32}
_N_CHOICES = 4

_BUDGETS: Mapping[tuple[Track, DeviceClass], float] = {("demo", "cpu"): 60.0, ("demo", "gpu"): 60.0}
_DEFAULT_MODELS: Mapping[DeviceClass, str] = {"cpu": "tiny-bert", "gpu": "tiny-bert"}


def single(split: SplitName) -> dict[str, Any]:
    """Label 1 if the sentence has more words with ``a`` than with ``o``, which holds for about half of them."""
    sentences = _sentences(split, "single")
    labels = [int(sum("a" in word for word in s) > sum("o" in word for word in s)) for s in sentences]
    return {"text": [" ".join(s) for s in sentences], "label": labels}


def pair(split: SplitName) -> dict[str, Any]:
    """Label 1 if both sentences start with the same word."""
    first, second = _sentences(split, "pair"), _sentences(split, "pair second")
    labels = [i % 2 for i in range(len(first))]
    for a, b, label in zip(first, second, labels, strict=True):
        b[0] = a[0] if label else next(word for word in b + list(WORDS) if word != a[0])
    return {"first": [" ".join(s) for s in first], "second": [" ".join(s) for s in second], "label": labels}


def regression(split: SplitName) -> dict[str, Any]:
    """Label, from 0 to 5: five times the share of the first sentence's words that are also in the second sentence."""
    first, second = _sentences(split, "regression"), _sentences(split, "regression second")
    labels = []
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        b[: i % len(b)] = a[: i % len(b)]
        labels.append(5.0 * sum(word in b for word in a) / len(a))
    return {"first": [" ".join(s) for s in first], "second": [" ".join(s) for s in second], "label": labels}


def multiple_choice(split: SplitName) -> dict[str, Any]:
    """The right one of four endings repeats the start."""
    starts, endings = _sentences(split, "start"), [_sentences(split, f"ending {c}") for c in range(_N_CHOICES)]
    labels = [i % _N_CHOICES for i in range(len(starts))]
    for i, label in enumerate(labels):
        endings[label][i] = starts[i]
    columns = {f"ending{c}": [" ".join(s) for s in endings[c]] for c in range(_N_CHOICES)}
    return {"start": [" ".join(s) for s in starts], **columns, "label": labels}


def text(split: SplitName) -> dict[str, Any]:
    """Lines in which every second word repeats the word before it."""
    lines = _sentences(split, "text")
    return {"text": [" ".join(word for word in line for _ in range(2)) for line in lines]}


def zero_shot(split: SplitName) -> dict[str, Any]:
    """The right one of two endings repeats the start."""
    starts, others = _sentences(split, "zero-shot start"), _sentences(split, "zero-shot other")
    labels = [i % 2 for i in range(len(starts))]
    endings = [
        (start, other) if label == 0 else (other, start)
        for start, other, label in zip(starts, others, labels, strict=True)
    ]
    columns = {f"ending{c}": [" ".join(pair[c]) for pair in endings] for c in range(2)}
    return {"start": [" ".join(start) for start in starts], **columns, "label": labels}


def _sentences(split: SplitName, stream: str) -> list[list[str]]:
    """Random sentences of 3 to 6 words, independent between streams."""
    rng = np.random.default_rng([len(split), *stream.encode()])
    lengths = rng.integers(3, 7, size=_N_ROWS[split])
    return [[WORDS[w] for w in rng.integers(len(WORDS), size=length)] for length in lengths]


def _data(kind: str, *text_columns: str, **options: Any) -> DataSource:
    generator = f"nasbench.testing.tasks:{kind}"
    return DataSource(text_columns, generator=generator, n_rows=(_N_ROWS["train"], _N_ROWS["test"]), **options)


TINY_SINGLE = Task(
    name="tiny-single",
    summary="Which letter is the more frequent",
    kind="classification",
    n_labels=2,
    metric="matthews",
    other_metrics=("accuracy",),
    data=_data("single", "text"),
    budgets=_BUDGETS,
    default_models=_DEFAULT_MODELS,
    max_length=32,
)
TINY_PAIR = Task(
    name="tiny-pair",
    summary="Do two sentences start alike",
    kind="classification",
    n_labels=2,
    metric="accuracy",
    other_metrics=("f1",),
    data=_data("pair", "first", "second"),
    budgets=_BUDGETS,
    default_models=_DEFAULT_MODELS,
    max_length=32,
)
TINY_REGRESSION = Task(
    name="tiny-regression",
    summary="How many words two sentences share",
    kind="regression",
    n_labels=1,
    metric="spearman",
    other_metrics=("pearson",),
    data=_data("regression", "first", "second", label_range=(0.0, 5.0)),
    budgets=_BUDGETS,
    default_models=_DEFAULT_MODELS,
    max_length=32,
)
TINY_CHOICE = Task(
    name="tiny-choice",
    summary="Which of four endings repeats the start",
    kind="multiple_choice",
    n_labels=_N_CHOICES,
    metric="accuracy",
    data=_data("multiple_choice", "start", *(f"ending{c}" for c in range(_N_CHOICES))),
    budgets=_BUDGETS,
    default_models=_DEFAULT_MODELS,
    max_length=32,
)
TINY_TEXT = Task(
    name="tiny-text",
    summary="Text in which every second word repeats the word before it",
    kind="language_modelling",
    n_labels=1,
    metric="compression",
    other_metrics=("bits_per_byte",),
    data=DataSource(("text",), generator="nasbench.testing.tasks:text"),
    budgets=_BUDGETS,
    default_models=_DEFAULT_MODELS,
    max_length=60,
)
TINY_ZERO_SHOT = Task(
    name="tiny-zero-shot",
    summary="Which of two endings repeats the start",
    kind="zero_shot_choice",
    n_labels=2,
    metric="accuracy",
    data=_data("zero_shot", "start", "ending0", "ending1"),
    budgets=_BUDGETS,
    default_models=_DEFAULT_MODELS,
    max_length=60,
)
TINY_LANGUAGE_TASKS = (TINY_TEXT, TINY_ZERO_SHOT)
"""Tasks of decoders with a language model head."""
TINY_TASKS = (TINY_SINGLE, TINY_PAIR, TINY_REGRESSION, TINY_CHOICE)
