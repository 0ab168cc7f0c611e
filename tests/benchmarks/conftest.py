"""What the benchmarks of the engine run: BERT-base with random weights on examples as long as RTE's.

Every row compares two ways of doing the same work. The slow one is the way published code works, made of this
project's masked oracle: the full-size network under masks, padded to 128 tokens, fp32, batches of 8 in evaluation and
4 in training, ``torch.optim.AdamW``. The two take turns, so that both meet the same noise, and each repetition has
sub-networks and examples of its own, so that no shape has been seen before.
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
"""What the slow way pads to, tokens."""

# Examples of RTE's public train split by tokens (all-MiniLM-L6-v2's tokenizer, cut at 128): the first number is how
# many have 13, the last how many have 128.
_N_OF_LENGTH = (
    1, 0, 0, 0, 3, 5, 2, 10, 7, 8, 11, 10, 11, 15, 21, 20, 21, 28, 33, 23, 38, 33, 39, 32, 40, 40, 43, 38, 50, 31, 41,
    49, 51, 59, 66, 58, 49, 35, 47, 43, 44, 47, 34, 51, 41, 33, 38, 28, 43, 31, 35, 23, 32, 26, 24, 13, 35, 26, 10, 18,
    8, 11, 12, 17, 9, 12, 6, 13, 11, 8, 8, 6, 13, 2, 7, 7, 6, 10, 10, 7, 6, 5, 8, 9, 7, 5, 5, 0, 6, 9, 7, 4, 4, 7, 6,
    9, 3, 6, 12, 6, 5, 9, 10, 12, 11, 8, 7, 8, 7, 7, 14, 7, 5, 7, 9, 314,
)  # fmt: skip
LENGTHS = np.repeat(np.arange(13, LENGTH + 1), _N_OF_LENGTH)
"""Of the 2,490 examples, ascending."""
_N_WORDS = 11_850
"""Different tokens in the 1,743 training examples."""
_N_TRAIN = 1743


@dataclass(frozen=True)
class Workload:
    """Attributes:
    train, validation: 1,743 and 747 examples with RTE's lengths and random tokens.
    samples: configurations of SMALL for each repetition; evenly spaced in cost among 1,000 uniform ones.
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
        """Random examples as the slow way batches them."""
        index = np.random.default_rng(seed).choice(len(split), n, replace=False)
        return collate(split, index, self.pad_id, LENGTH)


def make_split(lengths: np.ndarray, rng: np.random.Generator) -> Split:
    """Examples of these lengths with random tokens and labels."""
    n_tokens = int(lengths.sum())
    # Each word at least once where there is room, so that training can reach as many as in the real data.
    tokens = rng.permutation(np.concatenate([np.arange(_N_WORDS), rng.integers(_N_WORDS, size=n_tokens)])[:n_tokens])
    offsets, segments = np.concatenate([[0], np.cumsum(lengths)]), rng.integers(2, size=n_tokens)
    tokens[offsets[:-1]], segments[offsets[:-1]] = 0, 0  # every sequence starts alike, as with any tokenizer
    return Split(
        tokens=(1000 + tokens).astype(np.int32),
        segments=segments.astype(np.uint8),
        offsets=offsets,
        labels=rng.integers(2, size=len(lengths)),
        n_choices=1,
        ids=np.arange(len(lengths)),
    )


def bert(hidden_size: int = 768, n_layers: int = 12) -> SuperNetwork:
    """A network shaped like BERT-base, or one of another width and depth with heads and units to match."""
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
    if not request.config.getoption("benchmark_only"):
        pytest.skip("BERT-base at full size is for `make bench`; parity is tested in tests/test_parity.py")
    rng = np.random.default_rng(0)
    lengths = rng.permutation(LENGTHS)
    fp32 = bert()
    space = Small(fp32.dims)
    # Without heads only the first token is ever computed, next to nothing.
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
    """One row: times both ways in turn and notes both, a unit of work each, for the table.

    Attributes:
        repetition: the current one, counted from 0.
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
        """Time ``ours`` and ``slow``, each given the number of the repetition.

        Args:
            units: how much work each of the two does.
            prepare: called before ``ours``, untimed.
            notes: ``row``, ``aim`` and ``sample`` for the table.
        """
        slow_s: list[float] = []
        clock = self.benchmark._timer  # that of --benchmark-timer

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
