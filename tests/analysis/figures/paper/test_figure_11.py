import numpy as np
import pytest

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.figures.paper import figure_11, figure_12


def test_regret_agrees_with_values_calculated_by_hand(make_scores):
    row = {"method": "s-nas", "budget_s": 60.0}
    scores = make_scores(
        {**row, "searcher": "random", "seed": 0, "hypervolume": [1.0, 3.0, 3.0]},
        {**row, "searcher": "random", "seed": 1, "hypervolume": [2.0, 2.0, 3.5]},
        {**row, "searcher": "moasha", "seed": 0, "hypervolume": [0.0, 1.0, 3.0]},
        # Better than every other run. The regret of others does not depend on it.
        {"method": "rfp", "searcher": None, "space": "large", "hypervolume": [4.0, 3.9, 3.9]},
        {**row, "searcher": "random", "task": "mrpc", "hypervolume": [1.0, 2.0, 3.0]},
    )
    data = figure_11.data(scores)
    rte = data[(data["task"] == "rte") & (data["algorithm"] == "s-nas/random")]
    assert rte["time_s"].tolist() == pytest.approx([20.0, 40.0, 60.0])
    assert rte["regret"].tolist() == pytest.approx([2.5, 1.5, 0.75])
    assert rte["std"].tolist() == pytest.approx([np.sqrt(0.5), np.sqrt(0.5), np.sqrt(0.125)])
    assert rte["n"].unique() == [2]
    moasha = data[data["algorithm"] == "s-nas/moasha"]
    assert moasha["regret"].tolist() == pytest.approx([3.0, 1.0])  # the line begins with the first evaluation
    assert moasha["std"].isna().all()
    # The best run of MRPC ends at a hypervolume of 3: its regret is 4 - 3, not 0.
    assert data.loc[data["task"] == "mrpc", "regret"].tolist() == pytest.approx([3.0, 2.0, 1.0])
    figure = figure_11.draw(data)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["RTE", "MRPC"]


def test_figure_11_shows_standard_and_figure_12_weight_sharing_nas(make_scores):
    scores = make_scores(
        {"method": "s-nas", "searcher": "random", "hypervolume": [1.0]},
        {"method": "ws-nas", "searcher": "random", "hypervolume": [2.0]},
    )
    assert figure_11.data(scores)["regret"].tolist() == [3.0]
    assert figure_12.data(scores)["regret"].tolist() == [2.0]


def test_another_run_does_not_move_the_regret(make_scores):
    first = {"method": "s-nas", "searcher": "random", "hypervolume": [1.0, 2.0]}
    better = {"method": "s-nas", "searcher": "moasha", "hypervolume": [3.0, 4.0]}
    before = figure_11.data(make_scores(first))
    after = figure_11.data(make_scores(first, better))
    assert before["regret"].tolist() == [3.0, 2.0]
    assert after[after["algorithm"] == "s-nas/random"].reset_index(drop=True).equals(before)


def test_runs_without_evaluations_have_no_regret(make_scores):
    nothing = {"method": "s-nas", "searcher": "random", "hypervolume": [0.0, 0.0]}
    with pytest.raises(MissingRuns):
        figure_11.data(make_scores(nothing))
    scores = make_scores(nothing, {**nothing, "searcher": "local", "hypervolume": [0.0, 1.0]})
    assert figure_11.data(scores)["algorithm"].tolist() == ["s-nas/local"]
    good = {**nothing, "seed": 1, "hypervolume": [0.0, 1.0]}
    data = figure_11.data(make_scores({**nothing, "status": "failed"}, good, {**good, "seed": 2, "budget_s": 300.0}))
    assert data[["time_s", "regret", "n"]].to_numpy().tolist() == [[200.0, 3.0, 2]]


def test_missing_runs_name_the_experiment_of_the_figure(make_scores):
    scores = make_scores({"method": "rfp", "searcher": None, "space": "large", "hypervolume": [1.0]})
    with pytest.raises(MissingRuns, match="nasbench experiment fig11 "):
        figure_11.data(scores)
    with pytest.raises(MissingRuns, match="nasbench experiment fig12 "):
        figure_12.data(scores)
