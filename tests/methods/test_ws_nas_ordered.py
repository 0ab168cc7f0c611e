"""WS-NAS of nested sub-networks: the contract, what it evaluates, and where training draws."""

import itertools

import numpy as np
import pytest
from scipy.stats import ks_2samp

from nasbench.baselines.retraining_free import RetrainingFreePruning
from nasbench.masks.ordered import Ordered
from nasbench.masks.search import MaskSearch
from nasbench.methods.random_search import RandomSearch
from nasbench.methods.ws_nas_ordered import NestedStrategy, OrderedOptions, OrderedWeightSharingNAS
from nasbench.networks.space import Large
from nasbench.networks.subnetwork import Dimensions
from nasbench.runs.session import TrainingSession
from nasbench.testing import MethodContract
from nasbench.testing.subject import MethodSubject
from nasbench.training.configuration import TrainingOptions

FAST = {"epochs": 2, "fine_tuning_epochs": 1}
DIMS = Dimensions(n_layers=3, n_heads=4, n_units=40, hidden_size=16, head_size=4, n_fixed_params=100)


class TestContract(MethodContract):
    method = OrderedWeightSharingNAS
    options = OrderedOptions(**FAST)


class TestContractWithTwoTrainingsOfTheSuperNetwork(MethodContract):
    method = OrderedWeightSharingNAS
    options = OrderedOptions(epochs=3, fine_tuning_epochs=1, sampling="pareto", n_front=4)


def _outcome(folder, n_evaluations=8, searcher=None, **options):
    chosen = OrderedOptions(**{**FAST, **options})
    outcome = MethodSubject(OrderedWeightSharingNAS, folder, chosen, searcher, n_evaluations=n_evaluations).usual[0]
    assert outcome.record.status == "complete", outcome.record.reason
    return outcome


def _subnetworks(outcome):
    space = Large(Dimensions.from_json(outcome.record.dimensions))
    return [space.to_subnetwork(space.from_json(e.config)) for e in outcome.evaluations]


@pytest.mark.parametrize("searcher", [None, RandomSearch])
def test_evaluated_networks_are_nested(tmp_path, searcher):
    """Of any two, the one with fewer heads in all keeps none that the other drops; the same for units."""
    found = _subnetworks(_outcome(tmp_path, 14, searcher))
    assert len(found) == 14
    for masks in ([s.heads for s in found], [s.units for s in found]):
        ordered = sorted(masks, key=lambda mask: mask.sum())
        assert all(not (a & ~b).any() for a, b in itertools.pairwise(ordered))
    assert any(not s.heads[0, : s.head_counts[0]].all() for s in found)  # not simply the first ones


def test_importance_is_that_of_retraining_free_pruning(tmp_path, monkeypatch):
    """The Fisher information of the same network and the same examples, to the last bit."""
    found, search = [], MaskSearch.__init__

    def noted(self, heads, units, *others):
        found.append((heads, units))
        search(self, heads, units, *others)

    monkeypatch.setattr(MaskSearch, "__init__", noted)
    _outcome(tmp_path / "own", 6)
    MethodSubject(RetrainingFreePruning, tmp_path / "rfp", TrainingOptions(epochs=1), n_evaluations=3).run()
    for own, rfp in zip(*found, strict=True):
        np.testing.assert_array_equal(own, rfp)
        assert (own > 0).any()


def test_each_of_three_trainings_has_a_deadline_of_its_own(tmp_path, monkeypatch):
    shares, run = [], TrainingSession.run

    def noted(session, until_epoch=None, budget_share=1.0):
        shares.append(budget_share)
        run(session, until_epoch, budget_share)

    monkeypatch.setattr(TrainingSession, "run", noted)
    _outcome(tmp_path, 6, epochs=3, sampling="pareto", n_front=4)
    assert shares == pytest.approx([0.4, 0.6, 0.8])


@pytest.mark.parametrize("near", [(), ((3, 60), (10, 20))])
def test_half_of_the_training_draws_are_near_the_front(near):
    """Distances to the front of 4,000 draws, against draws made by the definition."""
    rng = np.random.default_rng(0)
    space = Ordered(DIMS, rng.random((3, 4)), rng.random((3, 40)))
    strategy = NestedStrategy(nested=space, near=tuple(map(np.array, near)))
    drawn = np.stack([strategy.sample(space, rng) for _ in range(4000)])
    assert (drawn >= 0).all()
    assert (drawn <= space.upper).all()
    uniform = rng.integers(0, space.upper + 1, size=(4000, 2))
    if near:
        starts = np.array(near)[rng.integers(2, size=2000)]
        moved = np.abs(starts + np.rint(rng.normal(0, 0.1 * space.upper, size=(2000, 2))))
        moved = np.where(moved > space.upper, 2 * space.upper - moved, moved)
        expected = np.concatenate([uniform[:2000], moved])
    else:
        expected = uniform
    for i in range(2):
        assert ks_2samp(drawn[:, i], expected[:, i]).statistic < 0.05
    assert ks_2samp(drawn @ [120, 12], expected @ [120, 12]).statistic < 0.05  # jointly, too
    if near:
        assert ks_2samp(drawn @ [120, 12], uniform @ [120, 12]).statistic > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "predicted", "widths": "uniform"}, "^the mask search predicts uneven widths; set sampling to "),
        ({"training_space": "small"}, "^training_space names no space of nested sub-networks; leave it out$"),
        ({"n_front": 3}, "^n_front must be at least 4, not 3$"),
        ({"fine_tuning_epochs": -1}, "^fine_tuning_epochs must be 0 or more, not -1$"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        OrderedOptions(**options)


@pytest.mark.parametrize("options", [{"epochs": 1}, {"epochs": 2, "fine_tuning_epochs": 2}])
def test_epochs_that_leave_none_for_the_super_network_are_refused_before_training(tmp_path, options):
    record = MethodSubject(OrderedWeightSharingNAS, tmp_path, OrderedOptions(**options)).run().record
    n = options["epochs"]
    assert record.reason == (
        f"fine-tuning for {n} of epochs = {n} leaves none for the super-network; set epochs to {n + 1} or more"
    )
    assert record.charged_s["training"] == 0
