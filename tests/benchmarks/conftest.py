"""The workload of the engine's benchmarks: networks with random weights, on examples as long as those of RTE.

The network is BERT-base, except in ``test_families.py``.

Every benchmark compares two ways of doing the same work. The slow way works like published code, built from this
project's masked pass: the full-size network under masks, padded to 128 tokens, fp32, batches of 8 in evaluation and
4 in training, ``torch.optim.AdamW``. The two ways take turns, so that other work on the machine affects both. Each
repetition has its own sub-networks and examples, so that it meets new shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from nasbench.data.batching import Batch, collate
from nasbench.data.splits import Split
from nasbench.declarations.task import Task
from nasbench.networks.space import Config, Small
from nasbench.networks.supernet import Precision, SuperNetwork
from nasbench.plugins import registry

N_REPETITIONS = 3
LENGTH = 128
"""Length to which the slow way pads, tokens."""

# Numbers of examples with 13, 14, ..., 128 tokens in RTE's public train split (tokenizer of all-MiniLM-L6-v2, cut at
# 128 tokens).
_N_OF_LENGTH = (
    1, 0, 0, 0, 3, 5, 2, 10, 7, 8, 11, 10, 11, 15, 21, 20, 21, 28, 33, 23, 38, 33, 39, 32, 40, 40, 43, 38, 50, 31, 41,
    49, 51, 59, 66, 58, 49, 35, 47, 43, 44, 47, 34, 51, 41, 33, 38, 28, 43, 31, 35, 23, 32, 26, 24, 13, 35, 26, 10, 18,
    8, 11, 12, 17, 9, 12, 6, 13, 11, 8, 8, 6, 13, 2, 7, 7, 6, 10, 10, 7, 6, 5, 8, 9, 7, 5, 5, 0, 6, 9, 7, 4, 4, 7, 6,
    9, 3, 6, 12, 6, 5, 9, 10, 12, 11, 8, 7, 8, 7, 7, 14, 7, 5, 7, 9, 314,
)  # fmt: skip
LENGTHS = np.repeat(np.arange(13, LENGTH + 1), _N_OF_LENGTH)
"""Lengths of the 2,490 examples, ascending, tokens."""
_N_WORDS = 11_850
"""Number of different tokens in the 1,743 training examples."""
_N_TRAIN = 1743


@dataclass(frozen=True)
class Workload:
    """A network in two precisions, a task with data, and sub-networks.

    Attributes:
        train, validation: 1,743 and 747 examples with RTE's lengths and random tokens.
        samples: configurations of SMALL for each repetition, evenly spaced in cost among 1,000 uniform samples.
    """

    fp32: SuperNetwork
    bf16: SuperNetwork
    task: Task
    space: Small
    train: Split
    validation: Split
    samples: list[list[Config]]
    pad_id: int = 0

    def network(self, precision: Precision) -> SuperNetwork:
        return self.fp32 if precision == "fp32" else self.bf16

    def padded(self, split: Split, n: int, seed: int) -> Batch:
        """A batch of random examples, padded as in the slow way."""
        index = np.random.default_rng(seed).choice(len(split), n, replace=False)
        return collate(split, index, self.pad_id, LENGTH)


def make_split(lengths: np.ndarray, rng: np.random.Generator) -> Split:
    """Examples with the given lengths, random tokens and random labels."""
    n_tokens = int(lengths.sum())
    # Each word occurs at least once if there is room, so that training meets as many words as in the real data.
    tokens = rng.permutation(np.concatenate([np.arange(_N_WORDS), rng.integers(_N_WORDS, size=n_tokens)])[:n_tokens])
    offsets, segments = np.concatenate([[0], np.cumsum(lengths)]), rng.integers(2, size=n_tokens)
    tokens[offsets[:-1]], segments[offsets[:-1]] = (
        0,
        0,
    )  # every sequence starts with the same token, as with any tokenizer
    return Split(
        tokens=(1000 + tokens).astype(np.int32),
        segments=segments.astype(np.uint8),
        offsets=offsets,
        labels=rng.integers(2, size=len(lengths)),
        n_choices=1,
        ids=np.arange(len(lengths)),
    )


def bert(hidden_size: int = 768, n_layers: int = 12) -> SuperNetwork:
    """A network shaped like BERT-base, with heads and units in proportion to the width."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=28_996,
        hidden_size=hidden_size,
        num_hidden_layers=n_layers,
        intermediate_size=4 * hidden_size,
        num_attention_heads=hidden_size // 64,
        num_labels=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SuperNetwork(BertForSequenceClassification(config).eval())


@pytest.fixture(scope="session")
def workload(request: pytest.FixtureRequest) -> Workload:
    needs_full_size(request)
    return workload_of(bert())


def needs_full_size(request: pytest.FixtureRequest) -> None:
    """Skip outside `make bench`."""
    if not request.config.getoption("benchmark_only"):
        pytest.skip("networks at full size run under `make bench` only")


def workload_of(fp32: SuperNetwork) -> Workload:
    """Examples and sub-networks for a classifier."""
    rng = np.random.default_rng(0)
    lengths = rng.permutation(LENGTHS)
    space = Small(fp32.dims)
    # A network without heads computes the first token only, which costs next to nothing.
    configs = sorted((space.sample(rng) for _ in range(1000)), key=lambda c: (c[0] > 0) * space.n_params(c[None])[0])
    return Workload(
        fp32=fp32,
        bf16=SuperNetwork(fp32.model, "bf16"),
        task=registry.tasks()["rte"],
        space=space,
        train=make_split(lengths[:_N_TRAIN], rng),
        validation=make_split(lengths[_N_TRAIN:], rng),
        samples=[configs[start::200] for start in (110, 120, 130)],
    )


@dataclass
class Comparison:
    """One row of the table: times both ways in turn and notes their seconds per unit of work.

    Attributes:
        repetition: number of the current repetition, from 0.
    """

    benchmark: Any
    repetition: int = 0

    def run(
        self,
        ours: Callable[[int], Any],
        slow: Callable[[int], Any],
        units: tuple[float, float],
        prepare: Callable[[int], Any] = lambda _: None,
        **notes: Any,
    ) -> None:
        """Time ``ours`` and ``slow``; each is called with the number of the repetition.

        Args:
            units: units of work that ``ours`` and ``slow`` do.
            prepare: called before ``ours``, outside the timed part.
            notes: ``row``, ``aim`` and ``sample`` for the table.
        """
        slow_s: list[float] = []
        clock = self.benchmark._timer  # the clock chosen with --benchmark-timer

        def setup() -> tuple[tuple[int], dict[str, Any]]:
            repetition = len(slow_s)
            started = clock()
            slow(repetition)
            slow_s.append(clock() - started)
            prepare(repetition)
            return (repetition,), {}

        self.benchmark.pedantic(ours, setup=setup, rounds=N_REPETITIONS)
        ours_s = self.benchmark.stats.stats.data
        self.benchmark.extra_info.update(
            notes,
            clock=self.benchmark._timer.__name__,
            n_threads=torch.get_num_threads(),
            ours=[s / units[0] for s in ours_s],
            slow=[s / units[1] for s in slow_s],
        )


@pytest.fixture
def comparison(benchmark: Any) -> Comparison:
    return Comparison(benchmark)
