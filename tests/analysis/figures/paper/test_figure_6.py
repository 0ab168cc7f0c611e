import pytest
from scipy import stats

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
    # Two scenarios are too few for an interval.
    assert data[["low", "high"]].isna().all(axis=None)


def test_interval_is_students_over_scenarios_from_six_scenarios_on(make_scores):
    tasks = ("rte", "mrpc", "cola", "stsb", "imdb", "sst2", "qnli", "swag")
    # EHVI wins on all tasks but one. The second seed of the first task has no weight of its own.
    rows = [
        {"task": task, "searcher": searcher, "hypervolume": [value + (task == "rte" and searcher == "random")]}
        for task in tasks for searcher, value in (("ehvi", 2.5), ("random", 2.0))
    ]  # fmt: skip
    rows += [{**row, "seed": 1} for row in rows[:2]]
    few, many = (figure_6.data(make_scores(*(row for row in rows if row["task"] in tasks[:n]))) for n in (5, 8))
    assert few[["low", "high"]].isna().all(axis=None)
    ehvi = many[many["algorithm"] == "ws-nas/ehvi"]
    expected = stats.ttest_1samp([2.0] + [1.0] * 7, 0.0).confidence_interval()
    assert ehvi["rank"].item() == pytest.approx(9 / 8)
    assert ehvi["high"].item() == pytest.approx(expected.high)
    assert expected.low < 1.0
    assert ehvi["low"].item() == 1.0  # no rank is better
    assert ehvi["n_blocks"].item() == 9


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


def test_each_model_and_device_class_has_its_own_panel(make_scores):
    rows = [
        {"model": model, "device_class": device, "searcher": searcher, "hypervolume": [value]}
        for model, device, best in (
            ("bert-base-cased", "gpu", "ehvi"), ("bert-base-cased", "cpu", "random"), ("minilm-l6", "cpu", "ehvi")
        )
        for searcher, value in (("ehvi", 2.0 + (best == "ehvi")), ("random", 2.5))
    ]  # fmt: skip
    data = figure_6.data(make_scores(*rows))
    panels = {
        panel: dict(zip(part["algorithm"].str.removeprefix("ws-nas/"), part["rank"], strict=True))
        for panel, part in data.groupby(["model", "device_class"])
    }
    assert panels == {
        ("bert-base-cased", "gpu"): {"ehvi": 1.0, "random": 2.0},
        ("bert-base-cased", "cpu"): {"ehvi": 2.0, "random": 1.0},
        ("minilm-l6", "cpu"): {"ehvi": 1.0, "random": 2.0},
    }
    figure = figure_6.draw(data)
    assert [ax.get_title(loc="right") for ax in figure.axes] == ["BERT-base, CPU", "BERT-base, GPU", "MiniLM-L6, CPU"]
    assert [ax.get_title(loc="left")[:2] for ax in figure.axes] == ["a)", "b)", "c)"]


def test_panels_beyond_the_alphabet_are_drawn_without_letters(make_scores):
    models = [f"model-{i:02}" for i in range(28)]
    rows = [
        {"model": model, "searcher": searcher, "hypervolume": [value]}
        for model in models for searcher, value in (("ehvi", 2.0), ("random", 1.0))
    ]  # fmt: skip
    axes = figure_6.draw(figure_6.data(make_scores(*rows))).axes
    assert [ax.get_title(loc="right") for ax in axes] == [f"{model}, GPU" for model in models]
    assert all(len(ax.lines) == 2 for ax in axes)
    titles = [f"{letter}) weight-sharing NAS" for letter in "abcdefghijklmnopqrstuvwxyz"]
    assert [ax.get_title(loc="left") for ax in axes] == [*titles, *["weight-sharing NAS"] * 2]


def test_tracks_are_never_averaged(make_scores):
    rows = [
        {"task": task, "track": track, "model": "minilm-l6", "searcher": searcher, "hypervolume": [value]}
        for task, track, values in (("mrpc", "compact", (3.0, 2.0)), ("demo", "demo", (2.0, 3.0)))
        for searcher, value in zip(("ehvi", "random"), values, strict=True)
    ]  # fmt: skip
    data = figure_6.data(make_scores(*rows))
    assert data.set_index(["track", "algorithm"])["rank"].to_dict() == {
        ("compact", "ws-nas/ehvi"): 1.0, ("compact", "ws-nas/random"): 2.0,
        ("demo", "ws-nas/ehvi"): 2.0, ("demo", "ws-nas/random"): 1.0,
    }  # fmt: skip
    titles = [ax.get_title(loc="right") for ax in figure_6.draw(data).axes]
    assert titles == ["MiniLM-L6, GPU, compact", "MiniLM-L6, GPU, demo"]


def test_ranks_use_only_blocks_in_which_all_searchers_have_run(make_scores):
    rows = [
        {"task": task, "searcher": searcher, "hypervolume": [value]}
        for task, values in (("rte", (3.0, 2.0, 1.0)), ("mrpc", (1.0, 2.0, None)))
        for searcher, value in zip(("ehvi", "random", "local"), values, strict=True) if value is not None
    ]  # fmt: skip
    data = figure_6.data(make_scores(*rows))
    assert data["rank"].tolist() == [1.0, 3.0, 2.0]  # sorted by name: EHVI, local, random
    assert (data["n_blocks"] == 1).all()


def test_single_searcher_raises_missing_runs(make_scores):
    with pytest.raises(MissingRuns, match="nasbench experiment fig6"):
        figure_6.data(make_scores({"searcher": "random", "hypervolume": [1.0]}))
