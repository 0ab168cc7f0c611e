"""Figure 13 and its claim: quantised networks read back, chosen, drawn and judged."""

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.figures.paper import figure_13
from nasbench.analysis.reading.quantized import variants
from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.claims import claims
from nasbench.analysis.report.paper_claims import check_claims
from nasbench.records.quantization import (
    FILE,
    OnDevice,
    Quantization,
    QuantizedNetwork,
    Ratio,
    Variant,
    write_quantization,
)

PLAN = Plan([Entry("ws-nas", "ehvi")], tasks=["rte", "mrpc", "stsb"], seeds=range(2), n_evaluations=6)
TIMES = {"fp32": 1.0, "int8": 1.02, "int8-weights": 2.0, "int4-weights": 0.5}
BYTES = {"fp32": 400, "int8": 150, "int8-weights": 150, "int4-weights": 90}


def _device(shift, n_networks=3, without=(), cpu="test"):
    def variant(scheme, i):
        if scheme in without:
            return Variant(scheme, reason="no kernel")
        time = (TIMES[scheme] + shift) / (i + 1)
        bytes_ = BYTES[scheme] * 1000 // (i + 1)
        return Variant(scheme, 0.3, 0.3 + 0.01 * i, bytes_, Ratio(time, 0.9 * time, 1.1 * time))

    networks = [
        QuantizedNetwork(i, i == 0, 1 / (i + 1), [variant(scheme, i) for scheme in TIMES]) for i in range(n_networks)
    ]
    return OnDevice({"cpu": cpu, "n_threads": 1}, {"torch": "2"}, [[1, 32]], networks)


@pytest.fixture
def folder(tmp_path):
    for i, path in enumerate(write_results(tmp_path, PLAN)):
        write_quantization(path, Quantization([_device(0.001 * i)]))
    return tmp_path


def test_every_variant_of_every_run_is_read(folder):
    found = read_results(folder)
    table = variants(found.runs)
    assert len(table) == 6 * 3 * 4
    row = table[(table["run"] == found.runs["run"][0]) & (table["scheme"] == "int8")].iloc[0]
    assert (row["megabytes"], row["is_full"], row["device"]) == (0.15, True, "test, threads: 1")
    assert row["low"] < row["latency"] < row["high"]


def test_the_figure_has_one_run_of_each_scenario_and_says_what_does_not_run(folder):
    path = next(folder.glob("rte/*/*seed1*"))
    write_quantization(path, Quantization([_device(0, n_networks=4, without=("int4-weights",), cpu="$hostile$")]))
    data = figure_13.data(read_results(folder))
    assert len(data.groupby("scenario")) == 3
    assert (data.groupby("scenario")["run"].nunique() == 1).all()
    assert set(data.loc[data["task"] == "rte", "seed"]) == {1}  # it has more networks
    assert set(data.loc[data["task"] != "rte", "seed"]) == {0}
    figure = figure_13.draw(data)
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 9
    labels = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert {"fp32", "int8", "int8-weights"} <= labels
    assert any("does not run here" in label for label in labels)
    by_parameters = figure.axes[2].lines[0].get_xydata()
    np.testing.assert_allclose(sorted(by_parameters[:, 0]), sorted(1 / np.arange(1, len(by_parameters) + 1)))


@pytest.mark.parametrize(("worst", "is_cut"), [(0.35, False), (0.99, True)])
def test_errors_of_useless_networks_are_cut(tmp_path, worst, is_cut):
    (path,) = write_results(tmp_path, Plan(PLAN.entries, tasks=["stsb"], seeds=[0], n_evaluations=6))
    networks = [
        QuantizedNetwork(i, i == 0, 1 / (i + 1), [Variant("fp32", 0.2, error, 400, Ratio(1, 0.9, 1.1))])
        for i, error in enumerate((0.2, 0.25, worst))
    ]
    write_quantization(path, Quantization([OnDevice({"cpu": "test"}, {"torch": "2"}, [[1, 32]], networks)]))
    figure = figure_13.draw(figure_13.data(read_results(tmp_path)))
    for ax in figure.axes[:2]:
        low, high = ax.get_ylim()
        assert low < 0.2
        assert high == pytest.approx(1 - 0.75 * 0.8) if is_cut else high > worst


def test_without_quantised_runs_there_is_no_figure(tmp_path):
    write_results(tmp_path, PLAN)
    with pytest.raises(MissingRuns, match="nasbench quantize"):
        figure_13.data(read_results(tmp_path))


@pytest.mark.parametrize(("n_runs", "verdict"), [(2, "undecided"), (3, "refuted")])
def test_three_runs_on_two_tasks_decide_since_times_do_not_depend_on_the_task(tmp_path, n_runs, verdict):
    paths = write_results(tmp_path, Plan(PLAN.entries, tasks=["mrpc", "stsb"], seeds=range(2), n_evaluations=6))
    for i, path in enumerate(sorted(paths, key=lambda path: path.name)[:n_runs]):  # seed 0 of both tasks first
        write_quantization(path, Quantization([_device(0.001 * i)]))
    judged = {each.claim.text: each for each in check_claims(read_results(tmp_path))}
    found = judged["int4-weights is not faster than fp32 on test, threads: 1 (figure 13)"]
    assert (found.n, found.n_tasks, found.verdict) == (n_runs, 2, verdict)


def test_claims_are_judged_over_all_runs(folder):
    results = read_results(folder)
    found = {each.claim.text: each for each in check_claims(results) if "figure 13" in each.claim.text}
    assert len(found) == 6
    verdicts = {text.partition(" (")[0]: each.verdict for text, each in found.items()}
    assert verdicts == {
        "int8 needs less memory than fp32": "confirmed",
        "int8-weights needs less memory than fp32": "confirmed",
        "int4-weights needs less memory than fp32": "confirmed",
        "int8 is not faster than fp32 on test, threads: 1": "confirmed",  # a difference of 2 % is within the margin
        "int8-weights is not faster than fp32 on test, threads: 1": "confirmed",
        "int4-weights is not faster than fp32 on test, threads: 1": "refuted",
    }
    faster = found["int4-weights is not faster than fp32 on test, threads: 1 (figure 13)"]
    latency = [(0.5 + 0.001 * i) / (1 + 0.001 * i) for i in range(6)]
    assert faster.difference == pytest.approx(1 - np.mean(latency), abs=1e-6)
    assert (faster.n, faster.n_tasks) == (6, 3)
    memory = found["int8 needs less memory than fp32 (figure 13)"]
    assert memory.difference == pytest.approx(1 - 150 / 400)


def test_times_of_each_device_are_judged_apart(tmp_path):
    """A quantised run on a GPU is timed on a CPU, and two CPUs may disagree."""
    for path in write_results(tmp_path, PLAN):
        slow = _device(0, cpu="slow\x1b[31m")
        full = slow.networks[0]
        full.variants[-1] = dataclasses.replace(full.variants[-1], latency=Ratio(3.0, 2.9, 3.1))
        write_quantization(path, Quantization([_device(0, cpu="quick"), slow]))
    found = {each.claim.text: each for each in check_claims(read_results(tmp_path)) if "figure 13" in each.claim.text}
    assert len(found) == 3 + 2 * 3
    quick, slow = (
        found[f"int4-weights is not faster than fp32 on {name}, threads: 1 (figure 13)"]
        for name in ("quick", "slow\x1b[31m")
    )
    assert (quick.verdict, slow.verdict) == ("refuted", "confirmed")
    assert (quick.difference, slow.difference) == pytest.approx((0.5, -2.0))
    assert found["int4-weights needs less memory than fp32 (figure 13)"].n == 6
    assert "\x1b" not in claims(tmp_path)


def test_device_without_fp32_says_nothing_about_times(tmp_path):
    for path in write_results(tmp_path, PLAN):
        write_quantization(path, Quantization([_device(0), _device(0, without=("fp32",), cpu="int8 only")]))
    found = {each.claim.text: each for each in check_claims(read_results(tmp_path)) if "figure 13" in each.claim.text}
    assert len(found) == 3 + 3
    assert not any("int8 only" in text for text in found)
    assert found["int8 is not faster than fp32 on test, threads: 1 (figure 13)"].n == 6
    assert found["int8 needs less memory than fp32 (figure 13)"].difference == pytest.approx(1 - 150 / 400)


def test_without_quantised_runs_the_claim_is_not_run(tmp_path):
    write_results(tmp_path, PLAN)
    (last,) = [each for each in check_claims(read_results(tmp_path)) if "figure 13" in each.claim.text]
    assert last.verdict == "not run"


def test_a_damaged_file_is_named_and_the_run_is_kept(folder):
    path = next(folder.glob("rte/*/*seed0*"))
    (path / FILE).write_text("{")
    found = read_results(folder)
    assert len(found.runs) == 6
    assert any(FILE in finding.message and not finding.damage for finding in found.findings)
    assert len(variants(found.runs)) == 5 * 3 * 4
