import numpy as np
import pytest

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.figures.paper import figure_6


def test_ranks_agree_with_values_calculated_by_hand(make_scores):
    # Two tasks, one seed; at the first step EHVI leads on both, at the second RS leads on one of them.
    scores = make_scores(
        {"task": "rte", "searcher": "ehvi", "hypervolume": [2.0, 3.0]},
        {"task": "rte", "searcher": "random", "hypervolume": [1.0, 3.5]},
        {"task": "rte", "searcher": "local", "hypervolume": [0.5, 1.0]},
        {"task": "mrpc", "searcher": "ehvi", "hypervolume": [2.0, 3.0]},
        {"task": "mrpc", "searcher": "random", "hypervolume": [1.0, 2.5]},
        {"task": "mrpc", "searcher": "local", "hypervolume": [1.0, 1.0]},
    )
    data = figure_6.data(scores)
    ranks = {name: part["rank"].tolist() for name, part in data.groupby("algorithm")}
    assert ranks == {"ws-nas/ehvi": [1.0, 1.5], "ws-nas/random": [2.25, 1.5], "ws-nas/local": [2.75, 3.0]}
    assert data["time"].unique().tolist() == [0.5, 1.0]
    assert (data["n_blocks"] == 2).all()
    local = data[(data["algorithm"] == "ws-nas/local") & (data["time"] == 0.5)]
    # Each of the two tasks is drawn twice in a quarter of the samples.
    assert (local["low"].item(), local["high"].item()) == (2.5, 3.0)


def test_methods_are_ranked_separately_and_other_runs_are_left_out(make_scores):
    row = {"hypervolume": [1.0]}
    scores = make_scores(
        {**row, "method": "s-nas", "searcher": "random"},
        {**row, "method": "s-nas", "searcher": "moasha", "hypervolume": [2.0]},
        {**row, "searcher": "random"},
        {**row, "searcher": "ehvi", "hypervolume": [2.0]},
        {**row, "searcher": "nsga2", "hypervolume": [3.0]},
        {**row, "searcher": "ehvi", "hypervolume": [3.0], "space": "large"},
        {**row, "searcher": "local", "hypervolume": [3.0], "marks": " [budget_s=7]"},
        {**row, "method": "rfp", "searcher": None, "hypervolume": [3.0]},
    )
    data = figure_6.data(scores)
    assert dict(zip(data["algorithm"], data["rank"], strict=True)) == {
        "s-nas/moasha": 1.0, "s-nas/random": 2.0, "ws-nas/ehvi": 1.0, "ws-nas/random": 2.0,
    }  # fmt: skip
    figure = figure_6.draw(data)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["a) standard NAS", "b) weight-sharing NAS"]
    assert all(ax.yaxis_inverted() for ax in figure.axes)


def test_same_seed_gives_same_bands(make_scores):
    rng = np.random.default_rng(0)
    rows = [
        {"task": task, "searcher": searcher, "seed": seed, "hypervolume": rng.uniform(1, 4, 3)}
        for task in ("rte", "mrpc", "cola") for searcher in ("random", "ehvi") for seed in range(3)
    ]  # fmt: skip
    assert figure_6.data(make_scores(*rows)).equals(figure_6.data(make_scores(*rows)))


def test_single_searcher_raises_missing_runs(make_scores):
    with pytest.raises(MissingRuns, match="nasbench experiment fig6"):
        figure_6.data(make_scores({"searcher": "random", "hypervolume": [1.0]}))
