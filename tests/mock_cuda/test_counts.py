"""Launches and waits of a step and an evaluation at the size of BERT-base on RTE.

A device is slow if it is given many small operations, and if the host waits for it. Both can be counted without one.
The limits are what the engine does now. Whoever makes it do less lowers them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from benchmarks.conftest import LENGTHS, bert, make_split
from mock_cuda.card import counted

from nasbench.data.splits import Split
from nasbench.declarations.model import TrainingConfiguration
from nasbench.networks.space import make_space
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins import registry
from nasbench.training.evaluation import Evaluator
from nasbench.training.strategies import TrainingStrategy
from nasbench.training.trainer import Trainer

CARD = torch.device("cuda")
FINE_TUNING = TrainingConfiguration(learning_rate=2e-5, batch_size=4, epochs=5)
RTE = registry.tasks()["rte"]
NODES_OF_A_STEP = 750
"""Operations of a `full` step: the device's work, whether it is launched or replayed. Four passes one after the other
were 4,505."""
NODES_OF_AN_EVALUATION = {"small": 150, "large": 230}
"""Padded batches were up to 1,750 and 2,395."""


@dataclass(frozen=True)
class Rte:
    """BERT-base with random weights on the card, and splits with the lengths of RTE."""

    network: SuperNetwork
    train: Split
    validation: Split


@pytest.fixture(scope="module")
def rte() -> Iterator[Rte]:
    rng = np.random.default_rng(0)
    lengths = rng.permutation(LENGTHS)
    network = bert()
    network.model.to(CARD)
    yield Rte(SuperNetwork(network.model, "bf16"), make_split(lengths[:1743], rng), make_split(lengths[1743:], rng))
    torch.cuda.empty_cache()


@pytest.mark.parametrize("space", ["small", "large"])
def test_step_of_a_training(rte: Rte, space: str) -> None:
    """After the recordings, a `full` step waits for nothing and copies only from page-locked memory."""
    strategy, the_space = TrainingStrategy("full"), make_space(space, rte.network.dims)
    trainer = Trainer(
        rte.network.copy(), rte.train, "classification", FINE_TUNING,
        lambda step, n, rng: strategy.step(step, n, the_space, rng), strategy, 0, seed=5,
    )  # fmt: skip
    trainer.run(trainer.steps_per_epoch)  # every length has been recorded
    n_steps = 20
    with counted() as found:
        trainer.run(trainer.step + n_steps)
    assert found.captures == found.waits == found.copies_to_host == found.copies_pageable == found.allocations == 0
    assert found.nodes / n_steps <= NODES_OF_A_STEP


@pytest.mark.parametrize("space", ["small", "large"])
def test_evaluation_of_a_sub_network(rte: Rte, space: str) -> None:
    """The host waits once and copies once, for the logits."""
    evaluator = Evaluator(rte.validation, RTE, 0, CARD)
    the_space, rng = make_space(space, rte.network.dims), np.random.default_rng(1)
    evaluator.logits(rte.network)
    for _ in range(3):
        subnetwork = the_space.to_subnetwork(the_space.sample(rng))
        with counted() as found:
            evaluator.logits(rte.network, subnetwork)
        assert found.nodes <= NODES_OF_AN_EVALUATION[space]
        assert found.waits == found.copies_to_host == 1
        assert found.copies_pageable == 0
