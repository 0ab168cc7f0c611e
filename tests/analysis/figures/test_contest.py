"""The figure of the contest: recomputed with plain loops, and drawn."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.figures import contest
from nasbench.analysis.reading.results import read_results

PLAN = Plan(
    [
        Entry("ws-nas", "ehvi"),
        Entry("rfp", space="large", shift=0.05),
        Entry("ws-nas-ordered", "ehvi-exact", space="large", shift=-0.05),
        Entry("s-nas", "random", shift=-0.1),
    ],
    tasks=["rte", "stsb"],
    seeds=range(3),
    n_evaluations=30,
    noise=0.02,
)


def test_every_point_equals_that_of_loops_over_the_evaluations(tmp_path):
    write_results(tmp_path, PLAN)
    results = read_results(tmp_path)
    data = contest.data(results)
    assert set(data["name"]) == set(contest.ENTRIES)  # not standard NAS, which is the best here
    for (scenario, name, limit), row in data.groupby(["scenario", "name", "limit"]):
        metrics = []
        for i, run in results.runs.iterrows():
            if run["scenario"] == scenario and run["entry"] == name:
                own = results.evaluations[(results.evaluations["run_row"] == i)]
                own = own[own["test_error"].notna() & (own["params"] <= limit)]
                metrics.append(1 - own.loc[own["error"].idxmin(), "test_error"])
        assert len(metrics) == 3
        assert row["test_metric"].item() == pytest.approx(np.mean(metrics))
    assert (data["n"] == 3).all()
    smallest = results.evaluations[results.evaluations["test_error"].notna()].groupby("run_row")["params"].min()
    for name in contest.ENTRIES:
        of_entry = smallest[(results.runs["entry"] == name) & (results.runs["task"] == "rte")]
        begin = data.loc[(data["name"] == name) & (data["task"] == "rte"), "limit"].min()
        assert begin - 0.01 < max(of_entry.max(), 0.2) <= begin + 1e-9


def test_a_contestant_does_not_lead_where_it_lacks_a_seed(tmp_path, write_run):
    for seed, smallest in ((0, 0.3), (1, 0.8)):
        best = [(1.0, 0.1, 0.1), (smallest, 0.12, 0.12)]
        write_run(tmp_path, "ws-nas-ordered", "ehvi-exact", "large", best, seed=seed)
        write_run(tmp_path, "rfp", None, "large", [(1.0, 0.2, 0.2), (0.25, 0.3, 0.3)], seed=seed)
    data = contest.data(read_results(tmp_path))
    leaders = data[data["leads"]].set_index("limit")["name"]
    limits = contest.LIMITS[contest.LIMITS >= 0.25]
    assert leaders.index.tolist() == limits.tolist()  # one leader at each limit, so the strip has no gaps
    assert leaders.tolist() == ["rfp@large" if limit < 0.8 else "ws-nas-ordered/ehvi-exact@large" for limit in limits]
    assert data.loc[data["leads"] & (data["limit"] < 0.8), "separated"].all()  # nobody else takes part there


def test_changed_options_do_not_take_part(tmp_path):
    usual, changed = (
        Entry("ws-nas-ordered", "ehvi-exact", "large", options={"repair": repair}, changed_options=repair)
        for repair in (False, True)
    )
    write_results(tmp_path, Plan([usual], tasks=["mrpc"], seeds=[0], n_evaluations=9))
    write_results(tmp_path, Plan([Entry("ws-nas", "ehvi"), changed], tasks=["rte"], seeds=[0], n_evaluations=9))
    with pytest.raises(MissingRuns, match="needs runs of two"):
        contest.data(read_results(tmp_path))


def test_contest_is_drawn_with_the_names_of_its_methods(tmp_path):
    write_results(tmp_path, PLAN)
    figure = contest.draw(contest.data(read_results(tmp_path)))
    assert isinstance(figure, Figure)
    labels = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert labels == {"RFP", "WS-NAS (EHVI)", "WS-NAS-ordered"}


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_panels_show_the_lines_large_with_bands_of_any_width(tmp_path, write_run, seeds):
    """One seed has no band. The band of two seeds as different as these would be ten times as high as the lines."""
    for seed in seeds:
        write_run(tmp_path, "ws-nas-ordered", "ehvi-exact", "large", [(1.0, 0.1, 0.1 + 0.2 * seed)], seed=seed)
        write_run(tmp_path, "rfp", None, "large", [(1.0, 0.2, 0.2), (0.25, 0.3, 0.3)], seed=seed)
    data = contest.data(read_results(tmp_path))
    low, high = contest.draw(data).axes[0].get_ylim()
    least, most = data["test_metric"].min(), data["test_metric"].max()
    assert low < least <= most < high
    assert high - low < 2 * (most - least)
