"""Proposals for all depths at once: whole curves, in SMALL only, and fewer of them for the same hypervolume."""

import numpy as np
import pytest

from nasbench.errors import UserError
from nasbench.front import hypervolume
from nasbench.methods.depth import DepthOptions, DepthSearcher
from nasbench.methods.ehvi_exact import ExactEhvi
from nasbench.space import make_space
from nasbench.testing.analytic import BERT_BASE, PROBLEMS, REFERENCE

SMOOTH = PROBLEMS["smooth"]


def _tell_curve(searcher, width):
    """Every depth of a width, as one pass would; its exact values ``(L + 1, 2)``."""
    curve = np.repeat(width[None], 13, axis=0)
    curve[:, 2] = np.arange(13)
    values = SMOOTH.values(curve)
    for config, pair in zip(curve, values, strict=True):
        searcher.tell(config, pair)
    return values


def test_half_the_proposals_reach_what_single_depths_reach():
    """60 evaluations of ehvi-exact against 27 passes. (A greedy choice that knows the exact errors needs 16.)"""
    single = SMOOTH.run(ExactEhvi(SMOOTH.space, np.random.default_rng(0)), 60, np.random.default_rng(9)).hypervolume
    searcher = DepthSearcher(SMOOTH.space, np.random.default_rng(0), DepthOptions(n_candidates=300))
    values = [_tell_curve(searcher, SMOOTH.space.largest), _tell_curve(searcher, SMOOTH.space.midpoint)]
    for _ in range(25):
        values.append(_tell_curve(searcher, searcher.ask()))
    assert hypervolume(np.concatenate(values), REFERENCE) >= single


def test_proposals_have_all_layers_with_and_without_a_model():
    searcher = DepthSearcher(SMOOTH.space, np.random.default_rng(0), DepthOptions(n_candidates=90))
    assert searcher.ask()[2] == 12
    _tell_curve(searcher, SMOOTH.space.largest)
    proposals = {tuple(searcher.ask()) for _ in range(5)}
    assert {layers for _, _, layers in proposals} == {12}
    assert len(proposals) == 5


def test_a_width_whose_depths_are_all_known_promises_less_than_a_new_one():
    searcher = DepthSearcher(SMOOTH.space, np.random.default_rng(0))
    for width in (SMOOTH.space.largest, np.array([6, 1536, 12])):
        _tell_curve(searcher, width)
    scores = searcher.score(np.array([[6, 1536, 12], [3, 700, 12]]))
    assert 0 <= scores[0] < 0.2 * scores[1]


def test_other_spaces_are_refused():
    with pytest.raises(UserError, match="'depth' works in space 'small', not in 'medium'"):
        DepthSearcher(make_space("medium", BERT_BASE), np.random.default_rng(0))


def test_options_out_of_range_are_named():
    with pytest.raises(ValueError, match="n_samples"):
        DepthOptions(n_samples=0)
