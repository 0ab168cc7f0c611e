"""Weight-sharing NAS: training spaces, the share of training in the budget, and evaluation of all depths."""

import time
from itertools import count

import pytest

from nasbench.errors import UserError
from nasbench.methods.ehvi_exact import ExactEhvi
from nasbench.methods.ws_nas import WeightSharingNAS
from nasbench.plugins import registry
from nasbench.records.record import RunFolder
from nasbench.runs import runner
from nasbench.runs.request import make_request
from nasbench.testing import MethodContract
from nasbench.testing.models import TINY_BERT
from nasbench.testing.tasks import TINY_PAIR
from nasbench.training.configuration import SuperNetworkOptions

FAST = {"epochs": 1}


class TestContractInTheUnionOfAllSpaces(MethodContract):
    method = WeightSharingNAS
    options = SuperNetworkOptions(**FAST)
    searcher = ExactEhvi
    space = "auto"


def _run(
    folder,
    method="ws-nas",
    searcher="random",
    space="small",
    max_evaluations=4,
    budget_s=None,
    clock=time.monotonic,
    **options,
):
    chosen, searching = registry.methods()[method], registry.searchers()[searcher]
    request = runner.RunRequest(
        task=TINY_PAIR,
        model=TINY_BERT,
        space=space,
        method=chosen,
        method_options=chosen.Options(**{**FAST, **options}),
        searcher=searching,
        searcher_options=searching.Options(),
        seed=0,
        device="cpu",
        results_dir=folder,
        max_evaluations=max_evaluations,
        budget_s=budget_s,
        precision="fp32",
    )
    record = runner.run(request, clock=clock)
    assert record.status == "complete", record.reason
    return record, RunFolder(request.folder)


def test_training_space_decides_the_weights_of_the_super_network(tmp_path):
    """Trained in SMALL, the weights are the same bytes for any searched space; trained in LAYER, they differ."""
    weights = [
        (_run(tmp_path, space=space, training_space=trained)[1].path / "weights/super-network.safetensors").read_bytes()
        for space, trained in (("small", None), ("layer", "small"), ("layer", None))
    ]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_super_network_of_the_grid_is_trained_in_small(tmp_path, monkeypatch):
    monkeypatch.setattr("nasbench.networks.space.LEAST_STEPS", 12)  # steps of 4 units
    weights = [
        (_run(tmp_path, space=space)[1].path / "weights/super-network.safetensors").read_bytes()
        for space in ("small", "small-grid")
    ]
    assert weights[0] == weights[1]


def test_training_leaves_a_fifth_of_the_budget(tmp_path):
    """A training that would take the whole budget is shortened, and the record has a note."""
    readings = count()
    record, folder = _run(
        tmp_path, max_evaluations=3, budget_s=500.0, epochs=100_000, clock=lambda: float(next(readings))
    )
    assert len(folder.read_evaluations()) == 3
    assert "was shortened from 1,700,000 to" in record.notes[0]
    assert 330 <= record.charged_s["training"] <= 400


def test_errors_of_depths_equal_errors_of_single_networks(tmp_path):
    """ws-nas-depth and ws-nas record the same error for a network of the same super-network."""
    _, by_depth = _run(tmp_path, "ws-nas-depth", max_evaluations=9)
    _, alone = _run(tmp_path, max_evaluations=3)
    errors = {evaluation.key: evaluation.error for evaluation in by_depth.read_evaluations()}
    assert len(errors) == 9  # nothing twice
    shared = [evaluation for evaluation in alone.read_evaluations() if evaluation.key in errors]
    assert len(shared) >= 2  # the largest and the smallest at least
    assert all(errors[evaluation.key] == pytest.approx(evaluation.error, abs=1e-9) for evaluation in shared)


def test_super_network_of_the_union_is_trained_in_all_spaces(tmp_path):
    """Trained in the union, the weights are others than those of each of its spaces."""
    weights = {
        (_run(tmp_path, space=space)[1].path / "weights/super-network.safetensors").read_bytes()
        for space in ("small", "medium", "layer", "large", "auto")
    }
    assert len(weights) == 5


@pytest.mark.parametrize(
    ("method", "searcher", "reason"),
    [
        ("ws-nas", "exhaustive", "searcher 'exhaustive' works in layer; it has no use for space 'auto'"),
        ("s-nas", "random", "method 's-nas' works in small, medium, layer, large; it has no use for --space auto"),
    ],
)
def test_union_of_all_spaces_is_refused_where_nothing_would_choose(tmp_path, method, searcher, reason):
    with pytest.raises(UserError, match=reason):
        make_request(method, "demo", space="auto", searcher=searcher, results=tmp_path)
