"""Random search draws every dimension of SMALL uniformly and ignores the values it is told."""

import numpy as np
from scipy.stats import chisquare

from nasbench.methods.random_search import RandomSearch
from nasbench.testing.analytic import PROBLEMS


def test_proposals_are_uniform_and_ignore_the_values_told():
    problem = PROBLEMS["smooth"]
    told, untold = (RandomSearch(problem.space, np.random.default_rng(5)) for _ in range(2))
    configs = []
    for _ in range(3000):
        config = told.ask()
        told.tell(config, problem.values(config[None])[0])
        np.testing.assert_array_equal(config, untold.ask())
        configs.append(config)
    for column, upper in zip(np.array(configs).T, problem.space.upper, strict=True):
        counts, _ = np.histogram(column, bins=min(upper + 1, 20), range=(-0.5, upper + 0.5))
        assert chisquare(counts).pvalue > 1e-4
