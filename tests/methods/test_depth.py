"""The searcher for passes that evaluate all depths: curves, prices, and a search against ``ehvi-exact``."""

import numpy as np
import pytest

from nasbench.errors import UserError
from nasbench.methods.ehvi_exact import ExactEhvi
from nasbench.methods.ws_nas_depth import DepthOptions, DepthSearcher, DepthWeightSharingNAS
from nasbench.networks.space import make_space
from nasbench.search.pareto import hypervolume
from nasbench.search.searcher import Searcher
from nasbench.testing.analytic import BERT_BASE, PROBLEMS, REFERENCE
from nasbench.testing.subject import MethodSubject

SMOOTH = PROBLEMS["smooth"]


def _tell_curve(searcher, width):
    """Tell all depths of a pass; returns their exact values ``(l + 1, 2)``."""
    curve = np.repeat(width[None], width[2] + 1, axis=0)
    curve[:, 2] = np.arange(width[2] + 1)
    values = SMOOTH.values(curve)
    for config, pair in zip(curve, values, strict=True):
        searcher.tell(config, pair)
    return values


def test_passes_reach_the_hypervolume_of_ehvi_exact_in_half_the_time():
    """60 evaluations of ehvi-exact against passes with half of their total price (by parameters and layers)."""

    def price(config):
        least = SMOOTH.space.n_params(SMOOTH.space.smallest[None])[0]
        share = (SMOOTH.space.n_params(config[None])[0] - least) / (SMOOTH.space.dims.n_params - least)
        return share + 0.1 * config[2] / 12

    outcome = SMOOTH.run(ExactEhvi(SMOOTH.space, np.random.default_rng(0)), 60, np.random.default_rng(9))
    left = 0.5 * sum(price(config) for config in outcome.configs)
    searcher, values = DepthSearcher(SMOOTH.space, np.random.default_rng(0)), []
    config = SMOOTH.space.largest
    while (left := left - price(config)) > 0:
        values.append(_tell_curve(searcher, config))
        config = searcher.ask()
    assert hypervolume(np.concatenate(values), REFERENCE) >= outcome.hypervolume


def test_proposals_have_all_layers_before_the_model_and_distinct_networks_with_it():
    searcher = DepthSearcher(SMOOTH.space, np.random.default_rng(0), DepthOptions(n_candidates=90))
    assert searcher.ask()[2] == 12
    _tell_curve(searcher, SMOOTH.space.largest)
    proposals = [searcher.ask() for _ in range(5)]
    assert len({tuple(config) for config in proposals}) == 5
    for config in proposals:
        SMOOTH.space.check(config)
        assert config[2] > 0


def test_a_width_with_known_depths_scores_less_than_a_new_width():
    searcher = DepthSearcher(SMOOTH.space, np.random.default_rng(0))
    for width in (SMOOTH.space.largest, np.array([6, 1536, 12])):
        _tell_curve(searcher, width)
    scores = searcher.score(np.array([[6, 1536, 12], [3, 700, 12]]))
    assert 0 <= scores[0] < 0.2 * scores[1]


def test_layers_that_lead_only_to_known_networks_lower_the_score():
    """All networks of this width with eight or more layers are known, so further layers only raise the price."""
    searcher = DepthSearcher(SMOOTH.space, np.random.default_rng(0))
    for config in (SMOOTH.space.largest, SMOOTH.space.midpoint, np.array([6, 1536, 12])):
        _tell_curve(searcher, config)
    for depth in range(8, 13):
        config = np.array([7, 1536, depth])
        searcher.tell(config, SMOOTH.values(config[None])[0])
    scores = searcher.score(np.array([[7, 1536, depth] for depth in range(1, 13)]))
    assert scores.argmax() < 8
    assert (np.diff(scores[7:]) < 0).all()


@pytest.mark.parametrize("error", [1.0, 0.5, 0.3162])
def test_equal_errors_leave_proposals_that_are_new(error):
    """As of a super-network that has learnt nothing: the posterior covariance is then little more than rounding."""
    searcher = DepthSearcher(SMOOTH.space, np.random.default_rng(0), DepthOptions(n_candidates=90))
    told = [SMOOTH.space.largest, SMOOTH.space.midpoint]
    for _ in range(3):
        for width in told[-2:]:
            for depth in range(width[2] + 1):
                config = np.array([*width[:2], depth])
                searcher.tell(config, np.array([error, *SMOOTH.values(config[None])[0, 1:]]))
        told.append(searcher.ask())
    assert len({tuple(config) for config in told}) == 5
    for config in told:
        SMOOTH.space.check(config)


def test_other_spaces_are_rejected():
    with pytest.raises(UserError, match="'depth' works in space 'small', not in 'medium'"):
        DepthSearcher(make_space("medium", BERT_BASE), np.random.default_rng(0))


def test_options_out_of_range_are_rejected():
    with pytest.raises(ValueError, match="n_samples"):
        DepthOptions(n_samples=0)


def test_searcher_is_told_the_old_values_of_a_configuration_that_was_known(tmp_path):
    """(3, 5, 0) is the smallest network, whose values the first pass gives."""
    told = []

    class Proposes(Searcher):
        name, summary, spaces = "proposes", "for tests", ("small",)

        def ask(self):
            return np.array([3, 5, 0]) if len(told) < 20 else self.space.sample(self.rng)

        def tell(self, config, values):
            told.append((config.tolist(), values.tolist()))

    subject = MethodSubject(DepthWeightSharingNAS, tmp_path, searcher=Proposes, n_evaluations=9)
    outcome = subject.run()
    assert outcome.record.reason is None
    smallest = next(values for config, values in told if config[2] == 0)
    assert [values for config, values in told if config == [3, 5, 0]][:1] == [smallest]
