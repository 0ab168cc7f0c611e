"""The time of a proposal. An evaluation takes seconds, so proposals must not use up the budget."""

import numpy as np
import pytest

from nasbench.plugins import registry
from nasbench.testing.analytic import PROBLEMS

NOISY = PROBLEMS["noisy"]


def _told(name, n):
    """A searcher that was told n random networks, and a function that tells it one more."""
    rng = np.random.default_rng(0)
    searcher = registry.searchers()[name](NOISY.space, rng)

    def tell(config):
        searcher.tell(config, NOISY.values(config[None])[0] + [0.02 * rng.standard_normal(), 0.0])

    for _ in range(n):
        tell(NOISY.space.sample(rng))
    return searcher, tell


@pytest.mark.benchmark(group="searchers")
@pytest.mark.parametrize("name", ["random", "local", "morea", "nsga2"])
def test_ask_and_tell_at_1000_observations(benchmark, name):
    """100 rounds of ask and tell, because NSGA-II breeds a whole generation at once."""
    searcher, tell = _told(name, 1000)

    def hundred():
        for _ in range(100):
            tell(searcher.ask())

    benchmark.extra_info.update(n=100, unit="proposals")
    benchmark.pedantic(hundred, rounds=10)


@pytest.mark.benchmark(group="searchers")
@pytest.mark.parametrize("name", ["ehvi", "ehvi-exact"])
def test_ask_at_100_observations(benchmark, name):
    searcher, tell = _told(name, 100)
    benchmark.extra_info.update(n=1, unit="proposal")
    benchmark.pedantic(lambda: tell(searcher.ask()), rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="searchers")
@pytest.mark.parametrize("shape", ["cloud", "one front", "chain"])
def test_report_at_1000_trials_on_a_rung(benchmark, shape):
    rng = np.random.default_rng(0)
    order = rng.permutation(2000).astype(float)
    reports = {
        "cloud": rng.random((2000, 2)),
        "one front": np.stack([order, -order], axis=1),
        "chain": np.stack([order, order], axis=1),
    }[shape]
    searcher = registry.searchers()["moasha"](NOISY.space, rng)
    for trial in range(1000):
        searcher.report(trial, 1, reports[trial])
    trials = iter(range(1000, 2000))
    benchmark.extra_info.update(n=1, unit="report")

    def report():
        trial = next(trials)
        searcher.report(trial, 1, reports[trial])

    benchmark.pedantic(report, rounds=200)
