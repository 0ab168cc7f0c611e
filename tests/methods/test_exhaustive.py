"""The exhaustive searcher proposes every network of LAYER exactly once before it starts again."""

import itertools

import numpy as np
import pytest

from nasbench.errors import UserError
from nasbench.methods.exhaustive import Exhaustive
from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import Dimensions

SPACE = make_space("layer", Dimensions(6, 2, 5, hidden_size=8, head_size=4, n_fixed_params=100))


def test_each_round_has_every_configuration_once_in_an_order_of_the_seed():
    searcher = Exhaustive(SPACE, np.random.default_rng(0))
    rounds = [[tuple(searcher.ask().tolist()) for _ in range(64)] for _ in range(2)]
    assert sorted(rounds[0]) == sorted(itertools.product((0, 1), repeat=6))
    assert rounds[0] == rounds[1] != sorted(rounds[0])
    other = Exhaustive(SPACE, np.random.default_rng(1))
    assert [tuple(other.ask().tolist()) for _ in range(64)] != rounds[0]


def test_space_with_too_many_networks_is_refused():
    thirty = make_space("layer", Dimensions(30, 3, 5, hidden_size=8, head_size=4, n_fixed_params=100))
    with pytest.raises(UserError, match="at most 4,194,304 networks, and 'layer' has 1,073,741,824 here"):
        Exhaustive(thirty, np.random.default_rng(0))
