"""The passes that each training strategy runs in a step."""

import numpy as np
import pytest
from scipy import stats

from nasbench.networks.space import Small, make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.training.strategies import FINE_TUNING_STEP, STRATEGIES, TrainingStrategy

DIMS = Dimensions(n_layers=4, n_heads=3, n_units=9, hidden_size=6, head_size=2, n_fixed_params=50)
SPACE = Small(DIMS)
FULL, SMALLEST = SPACE.to_subnetwork(SPACE.largest), SPACE.to_subnetwork(SPACE.smallest)


def _steps(strategy, n_steps=300, space=SPACE, **options):
    training, rng = TrainingStrategy(strategy, **options), np.random.default_rng(0)
    return [training.step(i, n_steps, space, rng) for i in range(n_steps)]


def _assert_distributed_as_in_the_space(subnetworks):
    """Compare the sizes with those of samples of the space by a two-sample test."""
    rng = np.random.default_rng(9)
    expected = SPACE.n_params(np.array([SPACE.sample(rng) for _ in range(3000)]))
    assert stats.ks_2samp([s.n_params(DIMS) for s in subnetworks], expected).pvalue > 1e-3


def test_standard_trains_the_full_network():
    for step in _steps("standard", 20):
        assert [(p.subnetwork, p.distilled) for p in step.passes] == [(FULL, False)]
        assert not step.frozen_teacher


def test_random_trains_one_random_sub_network():
    steps = _steps("random")
    assert all(len(step.passes) == 1 and not step.passes[0].distilled for step in steps)
    assert not any(step.frozen_teacher for step in steps)
    _assert_distributed_as_in_the_space([step.passes[0].subnetwork for step in steps])


def test_random_linear_moves_from_the_full_network_to_random_sub_networks():
    n_steps, training, rng = 11, TrainingStrategy("random-linear"), np.random.default_rng(1)
    probabilities = np.linspace(0, 1, n_steps)
    drawn = []
    for i, probability in enumerate(probabilities):
        steps = [training.step(i, n_steps, SPACE, rng) for _ in range(200)]
        assert all(len(step.passes) == 1 and not step.passes[0].distilled for step in steps)
        others = [step.passes[0].subnetwork for step in steps if step.passes[0].subnetwork != FULL]
        # A random draw can also be the full network.
        p_other = probability * (1 - 1 / np.prod(SPACE.upper + 1))
        assert stats.binomtest(len(others), 200, p_other).pvalue > 1e-3
        drawn += others
    _assert_distributed_as_in_the_space(drawn)
    assert training.step(0, 1, SPACE, rng).passes[0].subnetwork == FULL


@pytest.mark.parametrize("k", [1, 2, 5])
def test_sandwich_trains_full_random_and_smallest_networks_on_labels(k):
    steps = _steps("sandwich", n_random=k)
    for step in steps:
        assert step.passes[0].subnetwork == FULL
        assert step.passes[-1].subnetwork == SMALLEST
        assert len(step.passes) == k + 2
        assert not any(p.distilled for p in step.passes)
        assert not step.frozen_teacher
    _assert_distributed_as_in_the_space([p.subnetwork for step in steps for p in step.passes[1:-1]])


@pytest.mark.parametrize("k", [1, 2, 5])
def test_kd_distils_random_sub_networks_from_a_frozen_full_network(k):
    steps = _steps("kd", n_random=k)
    for step in steps:
        assert len(step.passes) == k
        assert all(p.distilled for p in step.passes)
        assert step.frozen_teacher
    _assert_distributed_as_in_the_space([p.subnetwork for step in steps for p in step.passes])


def test_full_is_the_sandwich_with_in_place_distillation():
    for step, sandwich in zip(_steps("full", 50), _steps("sandwich", 50), strict=True):
        assert [p.subnetwork for p in step.passes] == [p.subnetwork for p in sandwich.passes]
        assert [p.distilled for p in step.passes] == [False, True, True, True]
        assert not step.frozen_teacher


def test_random_sub_networks_are_independent_between_and_within_steps():
    passes = [step.passes[1:3] for step in _steps("full", 300)]
    assert len({p.subnetwork.key for pair in passes for p in pair}) > 100
    sizes = np.array([[p.subnetwork.n_params(DIMS) for p in pair] for pair in passes])
    assert stats.spearmanr(sizes[:, 0], sizes[:, 1]).pvalue > 1e-3


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("space", ["small", "medium", "layer", "large"])
def test_steps_depend_only_on_the_generator(strategy, space):
    space = make_space(space, DIMS)
    first, second = _steps(strategy, 20, space), _steps(strategy, 20, space)
    assert first == second


def test_fine_tuning_runs_the_whole_network_on_labels():
    assert [(p.subnetwork, p.distilled) for p in FINE_TUNING_STEP.passes] == [(None, False)]
    assert not FINE_TUNING_STEP.frozen_teacher


def test_defaults_equal_the_paper():
    assert TrainingStrategy() == TrainingStrategy("full", n_random=2, temperature=10.0, t_squared=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "sandwhich"}, "strategy is one of standard, random, random-linear, sandwich, kd, full"),
        ({"n_random": 0}, "n_random must be at least 1, not 0"),
        ({"temperature": 0.0}, "temperature must be positive, not 0.0"),
        ({"temperature": float("nan")}, "temperature must be positive, not nan"),
    ],
)
def test_options_out_of_range_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        TrainingStrategy(**options)
