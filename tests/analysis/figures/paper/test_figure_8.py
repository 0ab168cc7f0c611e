import pytest

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.figures.paper import figure_8
from nasbench.analysis.reading.results import read_results


def test_data_has_test_metric_of_networks_picked_by_validation_error(five_methods):
    data = figure_8.data(five_methods).set_index(["algorithm", "threshold"])
    # ws-nas/ehvi with seeds 0 and 1: thresholds from 0.6 on pick the network of size 0.6 (test errors .33 and .43).
    assert data.loc[("ws-nas/ehvi", 0.6), "test_metric"] == pytest.approx((0.67 + 0.57) / 2)
    assert data.loc[("ws-nas/ehvi", 0.9), "test_metric"] == pytest.approx((0.67 + 0.57) / 2)
    assert data.loc[("ws-nas/ehvi", 0.5), "test_metric"] == pytest.approx((0.56 + 0.46) / 2)
    assert data.loc[("ws-nas/ehvi", 0.3), "n"] == 2
    assert ("ws-nas/ehvi", 0.2) not in data.index  # no network is that small
    assert data.loc[("rfp", 0.3), "test_metric"] == pytest.approx(0.53)
    assert data[["low", "high"]].isna().all(axis=None)  # two runs have no interval


def test_three_runs_have_an_interval_that_agrees_with_values_calculated_by_hand(tmp_path, write_run):
    for seed, error in enumerate((0.2, 0.3, 0.4)):
        write_run(tmp_path, "rfp", None, "large", [(1.0, 0.1, 0.1), (0.5, 0.2, error)], seed=seed)
    data = figure_8.data(read_results(tmp_path)).set_index("threshold")
    # By hand: mean 0.7, standard error 0.1 / sqrt(3), Student's 4.303 for two degrees of freedom.
    assert data.loc[0.5, ["test_metric", "low", "high"]].tolist() == pytest.approx([0.7, 0.4516, 0.9484], abs=1e-4)


def test_guides_are_drawn_at_fractions_of_the_full_networks_metric(five_methods):
    data = figure_8.data(five_methods)
    # Full networks: HP (error .29) and RFP (.28) with seed 0, HP (.39) with seed 1; mean over seeds of the means.
    full_metric = ((0.71 + 0.72) / 2 + 0.61) / 2
    assert data["full_metric"].unique() == pytest.approx([full_metric])
    drawn = [line.get_ydata()[0] for line in figure_8.draw(data).axes[0].lines if len(line.get_xdata()) == 2]
    assert drawn == pytest.approx([full_metric, 0.95 * full_metric, 0.9 * full_metric])


def test_no_runs_raise_missing_runs(tmp_path):
    with pytest.raises(MissingRuns, match="nasbench experiment fig8"):
        figure_8.data(read_results(tmp_path))
