import pytest

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.figures.paper import figure_5

SAMPLE = {
    "max_evaluations": 103,
    "budget_s": None,
    "marks": " [max_evaluations=103]",
    "options": {"strategy": "full"},
}
SHARED = {**SAMPLE, "options": {"strategy": "full", "training_space": "small"}}
"""A run in a space other than SMALL, on the super-network trained in SMALL."""


def test_data_has_final_hypervolumes_of_the_four_spaces(make_scores):
    rows = [
        {
            **SAMPLE,
            "space": space,
            "seed": seed,
            "hypervolume": [1.0, value + seed],
        }
        for space, value in (("small", 3.0), ("medium", 2.0), ("layer", 2.5), ("large", 1.5))
        for seed in (0, 1)
    ]
    data = figure_5.data(make_scores(*rows))
    found = {(row.space, row.seed): row.hypervolume for row in data.itertuples()}
    assert found == {
        ("small", 0): 3.0, ("small", 1): 4.0, ("medium", 0): 2.0, ("medium", 1): 3.0,
        ("layer", 0): 2.5, ("layer", 1): 3.5, ("large", 0): 1.5, ("large", 1): 2.5,
    }  # fmt: skip
    figure = figure_5.draw(data)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["small", "medium", "layer", "large"]


def test_data_has_only_complete_random_samples_of_the_full_strategy(make_scores):
    scores = make_scores(
        {**SAMPLE, "space": "small", "hypervolume": [3.0]},
        {**SAMPLE, "space": "large", "hypervolume": [2.0]},
        {**SAMPLE, "space": "small", "hypervolume": [9.0], "searcher": "ehvi"},
        {**SAMPLE, "space": "small", "hypervolume": [9.0], "max_evaluations": 50},
        {**SAMPLE, "space": "small", "hypervolume": [9.0], "max_evaluations": None},
        {**SAMPLE, "space": "small", "hypervolume": [9.0], "options": {"strategy": "kd"}},
        {**SAMPLE, "space": "small", "hypervolume": [9.0], "options": {"strategy": "full", "temperature": 1.0}},
        {**SAMPLE, "space": "small", "hypervolume": [9.0], "options": {"strategy": "full", "t_squared": True}},
        {**SAMPLE, "space": "small", "hypervolume": [9.0], "budget_s": 60.0},
        {**SAMPLE, "space": "medium", "hypervolume": [9.0], "status": "failed"},
    )
    assert figure_5.data(scores)["hypervolume"].tolist() == [3.0, 2.0]


def test_super_networks_of_each_space_and_one_for_all_spaces_are_told_apart(make_scores):
    scores = make_scores(
        {**SAMPLE, "space": "small", "hypervolume": [3.0]},
        {**SHARED, "space": "large", "hypervolume": [2.0]},
        {**SAMPLE, "space": "large", "hypervolume": [1.0]},  # trained in LARGE
        {**SHARED, "space": "layer", "options": {"strategy": "full", "training_space": "layer"}, "hypervolume": [9]},
    )
    assert figure_5.data(scores)["hypervolume"].tolist() == [3.0, 1.0]
    assert figure_5.data(scores, shared=True)["hypervolume"].tolist() == [3.0, 2.0]


@pytest.mark.parametrize("shared", [False, True])
def test_runs_of_one_kind_are_no_comparison_of_the_other(make_scores, shared):
    kind = SHARED if shared else SAMPLE
    runs = [{**SAMPLE, "space": "small", "hypervolume": [3.0]}, {**kind, "space": "large", "hypervolume": [2.0]}]
    assert len(figure_5.data(make_scores(*runs), shared)) == 2
    with pytest.raises(MissingRuns, match="nasbench experiment fig5" + ("" if shared else "-shared")):
        figure_5.data(make_scores(*runs), not shared)


def test_single_space_raises_missing_runs(make_scores):
    with pytest.raises(MissingRuns, match="nasbench experiment fig5") as caught:
        figure_5.data(make_scores({**SAMPLE, "hypervolume": [3.0]}, {**SAMPLE, "task": "mrpc", "hypervolume": [3.0]}))
    assert caught.value.experiment == "fig5"
