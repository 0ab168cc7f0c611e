"""The model of a measured cost, against a machine whose times are known, and the timing of pairs."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.objectives import measuring
from nasbench.objectives.costs import Costs, Counted, restored_costs
from nasbench.objectives.measurers import fitted_model, kept_model
from nasbench.objectives.modelled import (
    Modelled,
    features,
    fit,
    fit_model,
    left_out_errors,
    median_interval,
    ratio_with_interval,
    sample_networks,
)

DIMS = Dimensions(n_layers=4, n_heads=4, n_units=12, hidden_size=16, head_size=4, n_fixed_params=100)
SHAPES = ((1, 8), (4, 8))
TRUE = np.array([[0.1, 0.2, 0.3, 0.1, 0.3], [0.02, 0.0, 0.48, 0.0, 0.5]])


def _machine(noise=0.0):
    """Times sub-networks by the coefficients of TRUE."""
    rng = np.random.default_rng(0)

    def times(subnetworks):
        inputs = features(DIMS, *_counts(subnetworks))
        return (inputs @ TRUE.T) * np.exp(noise * rng.standard_normal((len(subnetworks), 2)))

    return times


def _counts(subnetworks):
    return np.array([n.head_counts for n in subnetworks]), np.array([n.unit_counts for n in subnetworks])


def _fitted(noise=0.0, clock=lambda: 0.0):
    return fit_model("latency", DIMS, SHAPES, _machine(noise), clock)


def _exact(heads, units):
    return np.sqrt(np.prod(features(DIMS, heads, units) @ TRUE.T, axis=1))


def test_the_model_finds_the_times_of_a_machine_that_adds_them_up():
    clock = itertools.count()
    model = _fitted(clock=lambda: float(next(clock)))
    np.testing.assert_allclose(model.coefficients, TRUE, atol=1e-9)
    assert model.largest_error < 1e-9
    assert (model.n_networks, model.seconds) == (24, 1.0)
    space = make_space("medium", DIMS)
    heads, units = space.counts(np.stack([space.sample(np.random.default_rng(1)) for _ in range(9)]))
    np.testing.assert_allclose(model.of(DIMS, heads, units), _exact(heads, units), rtol=1e-9)


def test_the_stated_error_is_about_that_of_networks_outside_the_fit():
    model = _fitted(noise=0.2)
    space, rng = make_space("medium", DIMS), np.random.default_rng(5)
    others = [space.to_subnetwork(space.sample(rng)) for _ in range(200)]
    truth = np.sqrt(np.prod(_machine(noise=0.2)(others), axis=1))
    error = np.median(np.abs(model.of(DIMS, *_counts(others)) / truth - 1))
    assert error / 2 < model.median_error < 2 * error
    assert model.median_error < model.largest_error


def test_left_out_errors_are_those_of_a_fit_without_the_network():
    networks = sample_networks(DIMS, 10)
    inputs, ratios = features(DIMS, *_counts(networks)), _machine(noise=0.1)(networks)
    without = fit(np.delete(inputs, 3, axis=0), np.delete(ratios, 3, axis=0))
    wanted = np.sqrt(np.prod(inputs[3] @ without.T)) / np.sqrt(np.prod(ratios[3])) - 1
    assert left_out_errors(inputs, ratios)[3] == pytest.approx(abs(wanted))


def test_removing_a_part_never_makes_a_network_slower_and_the_full_network_has_ratio_1():
    model = _fitted(noise=0.5)
    space, rng = make_space("medium", DIMS), np.random.default_rng(0)
    costs = Costs((Counted("params"), model))
    assert costs.of(space, space.largest)[0] == pytest.approx([1, 1])
    for _ in range(50):
        config = space.sample(rng)
        less = config.copy()
        i = int(rng.integers(space.n_dims))
        less[i] = max(0, less[i] - 1)
        assert costs.of(space, less)[0, 1] <= costs.of(space, config)[0, 1] + 1e-12


def test_a_described_model_is_restored():
    model = _fitted(noise=0.1)
    costs = Costs((Counted("params"), model))
    assert restored_costs(json.loads(json.dumps(costs.describe(DIMS), sort_keys=True)), costs.names) == costs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coefficients": [[1.0] * 5]}, "^the coefficients do not fit the shapes$"),
        ({"coefficients": [[-1.0] * 5] * 2}, "^the coefficients do not fit the shapes$"),
        ({"shapes": 3}, "not iterable$"),
    ],
)
def test_a_damaged_model_is_refused(change, message):
    described = _fitted().describe(DIMS) | change
    with pytest.raises((ValueError, TypeError), match=message):
        Modelled.from_json("latency", described)


@pytest.mark.parametrize("n", [6, 9, 15, 40])
def test_the_interval_of_a_median_covers_it_in_at_least_95_of_100_samples(n):
    rng = np.random.default_rng(n)
    samples = np.exp(rng.standard_normal((4000, n)))  # the true median is 1
    bounds = np.array([median_interval(sample)[1:] for sample in samples])
    covered = ((bounds[:, 0] <= 1) & (bounds[:, 1] >= 1)).mean()
    assert 0.94 < covered < 0.99
    assert (bounds[:, 0] <= np.median(samples, axis=1)).all()


def test_the_interval_of_a_median_is_that_of_order_statistics():
    assert median_interval(range(20)) == (9.5, 5, 14)  # the 6th and the 15th of 20
    assert median_interval([1, 2, *[np.inf] * 5]) == (np.inf, 1, np.inf)
    median, low, high = median_interval([1, 2, 4, 8, 16])
    assert median == 4
    assert np.isnan([low, high]).all()  # any five values lie on one side of the true median in 6 % of samples


def test_the_ratio_is_the_median_over_rounds_of_the_geometric_mean_over_shapes():
    ratios = np.repeat([[1.0, 4.0], [0.5, 0.5], [2.0, 18.0]], 2, axis=0)
    assert ratio_with_interval(ratios) == pytest.approx({"ratio": 2.0, "low": 0.5, "high": 6.0})


class Slow(torch.nn.Module):
    """Stands for a network: a pass moves a clock by a fixed time, and by ten times as much while others work."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.clock, self.seconds = clock, seconds
        self.config = type("Config", (), {"pad_token_id": 0, "vocab_size": 50})

    def forward(self, **_):
        self.clock[0] += self.seconds * (10 if 3 <= self.clock[0] < 6 else 1)


class CountingPair(measuring.Pair):
    """A pair that counts its turns."""

    n_turns = 0

    def _turn(self, inputs):
        self.n_turns += 1
        return super()._turn(inputs)


def test_pairs_in_turns_share_what_slows_the_machine():
    clock = [0.0]
    pair = CountingPair(Slow(clock, 0.2), Slow(clock, 0.05), clock=lambda: clock[0])
    assert np.median([pair.ratio((2, 8)) for _ in range(40)]) == pytest.approx(0.25)
    assert pair.n_turns == 40  # two turns take more than QUICK_S
    quick = CountingPair(Slow(clock, 1e-3), Slow(clock, 1e-3), clock=lambda: clock[0])
    assert quick.ratio((2, 8)) == pytest.approx(1)
    assert quick.n_turns == measuring.MOST_TURNS


class DrawnPair(measuring.Pair):
    """A pair whose true ratio is 1, measured with random errors of the given standard deviation."""

    def __init__(self, rng, deviation):
        self.rng, self.deviation, self.n_ratios = rng, deviation, 0

    def ratio(self, _shape):
        self.n_ratios += 1
        return float(np.exp(self.deviation * self.rng.standard_normal()))


@pytest.mark.parametrize(("deviation", "n_rounds"), [(0.005, 9), (0.05, None), (0.5, 27)])
def test_rounds_go_on_until_the_interval_is_narrow_and_it_still_covers_the_ratio(deviation, n_rounds):
    rng, covered, errors = np.random.default_rng(0), [], []
    for _ in range(600):
        pair = DrawnPair(rng, deviation)
        found = pair.measured([(1, 8)])
        assert pair.n_ratios == n_rounds or (n_rounds is None and pair.n_ratios in (9, 18, 27))
        assert (found["high"] - found["low"] <= 0.05 * found["ratio"]) or pair.n_ratios == 27
        covered.append(found["low"] <= 1 <= found["high"])
        errors.append(np.log(found["ratio"]))
    assert 0.93 < np.mean(covered) < 0.99
    # The median of normal errors deviates by sqrt(pi / 2 / n) of their deviation; a stop at chance would add to that.
    assert np.std(errors) < 1.1 * deviation * np.sqrt(np.pi / 2 / (n_rounds or 9))


def test_few_rounds_have_no_interval():
    found = DrawnPair(np.random.default_rng(0), 0.1).measured([(1, 8)], most_rounds=5)
    assert found["ratio"] > 0
    assert np.isnan([found["low"], found["high"]]).all()


@pytest.mark.parametrize(("pad", "n_words"), [(0, 50), (1, 200), (50256, 50257), (49, 50), (None, 8)])
def test_timed_texts_have_words_of_the_vocabulary_and_no_padding(pad, n_words):
    """GPT-2 has no token for padding, and its last one, which ends a text, stands for it."""
    network = Slow([0.0], 0.1)
    network.config.pad_token_id, network.config.vocab_size = pad, n_words
    inputs = measuring.inputs_of(network, 4, 64)
    ids = inputs["input_ids"]
    assert ids.shape == inputs["attention_mask"].shape == (4, 64)
    assert int(ids.min()) >= 0
    assert int(ids.max()) < n_words
    assert (ids != (pad or 0)).all()
    assert len(ids.unique()) > 5


def test_a_kept_model_is_that_of_its_file_unless_the_file_is_damaged(tmp_path):
    model = _fitted()
    cache = tmp_path / "model.json"
    assert kept_model("latency", cache) is None
    cache.write_text(json.dumps(model.describe(DIMS)))
    assert kept_model("latency", cache) == model
    for damaged in ("{}", "[]", "{", '"text"'):
        cache.write_text(damaged)
        assert kept_model("latency", cache) is None, damaged
    measurer = SimpleNamespace(shapes=SHAPES, ratios=_machine())
    np.testing.assert_allclose(fitted_model("latency", measurer, DIMS).coefficients, TRUE, atol=1e-9)


def test_a_model_of_latency_is_written_as_before_there_were_others():
    """Records and files of earlier versions hold these names and texts."""
    assert [*_fitted().describe(DIMS)] == [
        "unit", "source", "shapes", "coefficients", "median_error", "largest_error", "n_networks", "seconds"
    ]  # fmt: skip
    assert _fitted().describe(DIMS)["unit"] == "geometric mean of the ratios to the full network's time"
    assert _fitted().describe(DIMS)["source"] == "modelled"


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("macs", "modelled", "^macs is not modelled$"),
        ("latency", "counted", "^latency is not counted$"),
        ("size", "counted", "^'size'$"),
    ],
)
def test_a_cost_of_another_source_than_the_declared_one_is_damaged(name, source, message):
    with pytest.raises((KeyError, ValueError), match=message):
        restored_costs({name: _fitted().describe(DIMS) | {"source": source}}, ["error", name])


def test_time_on_a_gpu_is_that_between_two_events_on_an_idle_stream(monkeypatch):
    """Stand-in events note the time of a card, which starts late and computes while the host goes on."""
    card = [0.0]

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = card[0]

        def synchronize(self):
            assert self.at == card[0]

        def elapsed_time(self, other):
            return 1e3 * (other.at - self.at)

    def wait():
        card[0] = np.ceil(card[0])

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", wait)
    pair = measuring.Pair(Slow(card, 0.5), Slow(card, 0.1), clock=None)
    pair._is_on_gpu = True
    card[0] = 10.0
    assert pair.ratio((2, 8)) == pytest.approx(0.2)
