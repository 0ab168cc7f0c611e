"""The figure of families: recomputed with plain loops, and drawn."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.figures import families
from nasbench.analysis.reading.results import read_results
from nasbench.plugins import registry
from nasbench.records.quantization import (
    OnDevice,
    Quantization,
    QuantizedNetwork,
    Variant,
    write_quantization,
)

PLAN = Plan(
    [Entry("ws-nas", "random"), Entry("s-nas", "random", shift=0.05), Entry("rfp", space="large", shift=0.02)],
    tasks=["rte", "stsb"],
    seeds=range(3),
    n_evaluations=30,
    noise=0.02,
)


@pytest.fixture
def folder(tmp_path):
    for path in write_results(tmp_path, PLAN):
        if "rfp" in path.name and "rte" in str(path):
            sizes = {"fp32": (400, 0.2), "int8": (130, 0.21), "int4-weights": (90, 0.4)}
            variants = [Variant(name, error, error + 0.01, n) for name, (n, error) in sizes.items()]
            smaller = [Variant("fp32", 0.3, 0.31, 200), Variant("int8", 0.32, 0.33, 100)]
            networks = [QuantizedNetwork(0, True, 1.0, variants), QuantizedNetwork(1, False, 0.5, smaller)]
            write_quantization(path, Quantization([OnDevice({"cpu": "test"}, {"torch": "2"}, [[1, 32]], networks)]))
    return tmp_path


def expected(results, scenario, family, limit, seed):
    """Test metric of the network that the family chooses, from loops over the evaluations."""
    best = None
    for row, run in results.runs.iterrows():
        if run["scenario"] != scenario or run["seed"] != seed:
            continue
        if family == "quantised":
            networks = [(0.21, 130 / 400, 0.22), (0.4, 90 / 400, 0.41)] if len(run["quantized"]) else []
        elif family == "pruning, quantised":
            networks = [(0.32, 100 / 400, 0.33)] if len(run["quantized"]) else []
        elif run["method"] in families.FAMILIES[family]:
            own = results.evaluations[results.evaluations["run_row"] == row]
            networks = list(own[["error", "params", "test_error"]].itertuples(index=False, name=None))
        else:
            continue
        for error, size, test in networks:
            if size <= limit and not np.isnan(test) and (best is None or (error, size) < best[:2]):
                best = (error, size, test)
    return None if best is None else 1 - best[2]


def test_every_point_equals_that_of_loops_over_the_evaluations(folder):
    results = read_results(folder)
    data = families.data(results)
    assert set(data["name"]) == {"pruning", "NAS", "quantised", "pruning, quantised"}
    assert set(data.loc[data["task"] == "stsb", "name"]) == {"pruning", "NAS"}
    n = 0
    for scenario in set(data["scenario"]):
        for limit in families.LIMITS[::3]:
            part = data[(data["scenario"] == scenario) & (data["limit"] == limit)].set_index("name")
            for family in ("pruning", "NAS", "quantised", "pruning, quantised"):
                found = [expected(results, scenario, family, limit, seed) for seed in range(3)]
                assert (family in part.index) == (None not in found)
                if None not in found:
                    assert part.loc[family, "test_metric"] == pytest.approx(np.mean(found))
                    assert part.loc[family, "n"] == len(found)
                    n += 1
    assert n > 100


def test_the_owner_of_a_size_is_the_best_family_and_is_separated_by_its_interval(folder):
    data = families.data(read_results(folder))
    separated = []
    for _, part in data.groupby(["scenario", "limit"]):
        (leader,) = part[part["leads"]].to_dict("records")
        assert leader["test_metric"] == part["test_metric"].max()
        separated.append(leader["separated"])
    assert any(separated)
    assert not all(separated)
    assert not data.loc[~data["leads"], "separated"].any()


def test_one_seed_separates_nothing(tmp_path):
    write_results(tmp_path, Plan(PLAN.entries, tasks=["rte"], seeds=[0], n_evaluations=30))
    data = families.data(read_results(tmp_path))
    both = data.groupby("limit").filter(lambda part: len(part) > 1)
    assert len(both)
    assert not both["separated"].any()


def test_families_are_drawn_with_a_strip_of_owners(folder):
    data = families.data(read_results(folder))
    figure = families.draw(data)
    assert isinstance(figure, Figure)
    axes = [ax for ax in figure.axes if ax.lines]
    assert len(axes) == 2
    for ax in axes:
        assert ax.patches
        assert len({patch.get_alpha() for patch in ax.patches}) == 2
    labels = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert labels == {"pruning", "NAS", "quantised", "pruning, quantised"}


def test_a_scenario_of_one_family_is_left_out(folder):
    write_results(folder, Plan([Entry("ws-nas", "random")], tasks=["mrpc"], seeds=[0], n_evaluations=5))
    assert set(families.data(read_results(folder))["task"]) == {"rte", "stsb"}


def test_one_family_makes_no_figure(tmp_path):
    write_results(tmp_path, Plan([Entry("ws-nas", "random")], tasks=["rte"], seeds=[0], n_evaluations=5))
    with pytest.raises(MissingRuns, match="needs runs of two"):
        families.data(read_results(tmp_path))


def test_methods_that_are_not_listed_are_in_the_family_of_their_searcher_and_space(tmp_path):
    new = [Entry("my-nas", "random", "large"), Entry("my-pruning", space="large"), Entry("my-factors", space="ranks")]
    write_results(tmp_path, Plan(new, tasks=["rte"], seeds=[0], n_evaluations=8))
    data = families.data(read_results(tmp_path))
    assert set(data["name"]) == {"NAS", "pruning", "low rank"}


def test_listed_methods_are_of_the_suite_and_in_one_family():
    listed = [method for methods in families.FAMILIES.values() for method in methods]
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(registry.methods())
    both = {f"{family}, quantised" for family in families.FAMILIES}
    assert set(families.COLOURS) == {*families.FAMILIES, "quantised", *both}
