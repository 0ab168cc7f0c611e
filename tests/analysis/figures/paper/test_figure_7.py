import pytest

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.figures.paper import figure_7

SAMPLE = {"max_evaluations": 103, "budget_s": None, "marks": " [max_evaluations=103]"}


def test_final_hypervolumes_of_six_strategies_are_drawn_in_order(make_scores):
    values = {"full": 3.5, "kd": 3.4, "sandwich": 3.3, "random-linear": 3.2, "random": 3.1, "standard": 3.0}
    rows = [{**SAMPLE, "options": {"strategy": name}, "hypervolume": [0.5, value]} for name, value in values.items()]
    data = figure_7.data(make_scores(*rows))
    assert dict(zip(data["strategy"], data["hypervolume"], strict=True)) == values
    figure = figure_7.draw(data)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [
        "standard", "random", "random-linear", "sandwich", "kd", "full",
    ]  # fmt: skip


def test_spaces_other_than_small_are_left_out(make_scores):
    scores = make_scores(
        {**SAMPLE, "options": {"strategy": "full"}, "hypervolume": [3.0]},
        {**SAMPLE, "options": {"strategy": "kd"}, "hypervolume": [2.0]},
        {**SAMPLE, "options": {"strategy": "kd"}, "hypervolume": [9.0], "space": "large"},
    )
    assert figure_7.data(scores)["hypervolume"].tolist() == [3.0, 2.0]


def test_single_strategy_raises_missing_runs(make_scores):
    with pytest.raises(MissingRuns, match="nasbench experiment fig7"):
        figure_7.data(make_scores({**SAMPLE, "options": {"strategy": "full"}, "hypervolume": [3.0]}))
