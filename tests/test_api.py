"""The Python interface, used as a notebook would use it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nasbench
from nasbench.cli import sweep as cli_sweep
from nasbench.errors import UserError
from nasbench.plugins import registry
from nasbench.records.record import RunFolder
from nasbench.search.pareto import pareto_mask
from nasbench.sweeps import jobs
from nasbench.testing.decoders import TINY_LLAMA
from nasbench.testing.models import TINY_BERT, save_tiny
from nasbench.testing.tasks import TINY_PAIR, TINY_TEXT, text


class TopLayers(nasbench.Method):
    """Fine-tune once, then drop layers from the top."""

    name = "top-layers"
    summary = "drop layers from the top"
    spaces = ("layer",)

    def run(self, problem: nasbench.Problem) -> None:
        network = problem.pretrained()
        problem.training(network).run()
        config = problem.space.largest
        problem.evaluate(network, config)
        for layer in reversed(range(problem.dims.n_layers)):
            config[layer] = 0
            problem.evaluate(network, config)


class Fails(TopLayers):
    """Raises after the first evaluation."""

    name = "fails"

    def run(self, problem: nasbench.Problem) -> None:
        problem.evaluate(problem.pretrained(), problem.space.largest)
        raise RuntimeError("no more ideas")


class Measures(TopLayers):
    """Evaluates the full network."""

    name = "measures"

    def run(self, problem: nasbench.Problem) -> None:
        problem.evaluate(problem.pretrained(), problem.space.largest)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


def search(results: Path) -> nasbench.Run:
    return nasbench.run(
        "ws-nas",
        TINY_PAIR,
        model=TINY_BERT,
        searcher="local",
        options={"epochs": 1, "strategy": "sandwich"},
        max_evaluations=8,
        results=results,
        quiet=True,
    )


@pytest.fixture(scope="module")
def searched(results: Path) -> nasbench.Run:
    return search(results)


def test_run_returns_the_record_on_disk(searched: nasbench.Run) -> None:
    assert searched.status == "complete"
    assert searched.record == RunFolder(searched.folder).read_run()
    identity = searched.record.identity
    assert (identity.algorithm, identity.task, identity.max_evaluations) == ("ws-nas/local", "tiny-pair", 8)
    assert identity.options["method"]["strategy"] == "sandwich"
    assert "ws-nas/local on tiny-pair" in repr(searched)
    assert "8 evaluations" in repr(searched)


def test_evaluations_table_equals_the_record(searched: nasbench.Run) -> None:
    table = searched.evaluations
    recorded = RunFolder(searched.folder).read_evaluations()
    for name in ("index", "error", "params", "n_params", "elapsed_s", "status", "config", "head_counts"):
        assert table[name].tolist() == [getattr(evaluation, name) for evaluation in recorded]
    assert table["metric.accuracy"].tolist() == [evaluation.metrics["accuracy"] for evaluation in recorded]
    expected = [np.nan if evaluation.test_error is None else evaluation.test_error for evaluation in recorded]
    np.testing.assert_array_equal(table["test_error"], expected)


def test_front_is_the_non_dominated_evaluations_by_size(searched: nasbench.Run) -> None:
    table, front = searched.evaluations, searched.front
    mask = pareto_mask(table[["error", "params"]].to_numpy())
    assert set(front["n_params"]) == set(table["n_params"][mask])
    assert front["n_params"].is_monotonic_increasing
    assert front["error"].is_monotonic_decreasing


def test_plot_is_a_picture_that_notebooks_show(searched: nasbench.Run) -> None:
    figure = searched.plot()
    assert figure.axes[0].get_xlabel() == "parameters (% of the full network)"
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_complete_run_is_read_and_not_repeated(searched: nasbench.Run, results: Path) -> None:
    before = (searched.folder / "evaluations.jsonl").stat().st_mtime_ns
    again = search(results)
    assert again.folder == searched.folder
    assert (again.folder / "evaluations.jsonl").stat().st_mtime_ns == before


def test_own_method_class_runs_unofficially(results: Path) -> None:
    run = nasbench.run(TopLayers, TINY_PAIR, model=TINY_BERT, max_evaluations=10, results=results, quiet=True)
    assert run.status == "complete"
    assert len(run.evaluations) == 1 + 3
    assert "method 'top-layers' is not part of the suite" in run.record.unofficial


@pytest.mark.parametrize(
    ("kind", "name", "place"),
    [("method", "rfp", "baselines.retraining_free"), ("searcher", "local", "methods.local_search")],
)
def test_own_class_with_the_name_of_another_is_refused(kind: str, name: str, place: str, tmp_path: Path) -> None:
    base = TopLayers if kind == "method" else nasbench.searchers()["random"]
    mine = type("Mine", (base,), {"name": name, "__module__": __name__})
    arguments: dict[str, Any] = {"method": "ws-nas", "task": TINY_PAIR, "model": TINY_BERT, kind: mine}
    with pytest.raises(UserError, match=rf"class Mine has the name of nasbench\.{place}: '{name}'; rename your {kind}"):
        nasbench.run(**arguments, results=tmp_path)


def test_declaration_with_the_name_of_another_is_a_run_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "suite_tasks", lambda: (TINY_PAIR,))
    monkeypatch.setattr(registry, "models", lambda: {TINY_BERT.name: TINY_BERT})

    def run(task: Any, model: Any) -> nasbench.Run:
        return nasbench.run(Measures, task, model=model, max_evaluations=3, results=tmp_path, quiet=True)

    known = run(TINY_PAIR, TINY_BERT)
    reasons = known.record.unofficial
    assert known.record.declaration is None
    assert not [reason for reason in reasons if reason.startswith(("task", "model"))]
    assert run(TINY_PAIR.name, TINY_BERT.name).folder == known.folder
    model = dataclasses.replace(TINY_BERT, generator="nasbench.testing.models:tiny_electra", architecture="electra")
    task = dataclasses.replace(TINY_PAIR, max_length=9)
    own = {"model": run(TINY_PAIR, model), "task": run(task, TINY_BERT)}
    for kind, made in own.items():
        assert made.status == "complete", made.record.reason
        assert set(made.record.unofficial) - set(reasons) == {
            f"{kind} {getattr(made.record.identity, kind)!r} is not part of the suite"
        }
    assert own["model"].record.n_params_full != known.record.n_params_full
    assert (own["task"].record.declaration or {})["task"]["max_length"] == 9
    assert run(task, TINY_BERT).folder == own["task"].folder
    assert nasbench.results(tmp_path).runs["scenario"].nunique() == 3


def test_documented_language_model_and_text_of_ones_own_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[1] / "docs" / "objectives.md").read_text()
    _, code, _ = page.partition("## Language modelling")[2].split("```", 2)
    save_tiny(TINY_LLAMA, TINY_TEXT, tmp_path / "my-decoder")
    for split in ("train", "validation", "test"):
        rows = pa.table(text("test" if split == "test" else "train"))
        pq.write_table(rows, tmp_path / f"{split}.parquet")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(code.removeprefix("python").replace("1_000", "60"), found)  # the tiny network takes 64 tokens
    run = found["run"]
    assert run.status == "complete", run.record.reason
    assert run.evaluations["metric.bits_per_byte"].notna().all()
    assert (run.record.track, run.record.unofficial) == (
        "user",
        ["task 'my-text' is not part of the suite", "model 'my-decoder' is not part of the suite"],
    )


def test_failed_run_keeps_its_evaluations_and_says_why(results: Path) -> None:
    run = nasbench.run(Fails, TINY_PAIR, model=TINY_BERT, max_evaluations=10, results=results, quiet=True)
    assert run.status == "failed"
    assert "no more ideas" in str(run.record.reason)
    assert len(run.evaluations) == 1


def test_results_are_two_tables(searched: nasbench.Run, results: Path) -> None:
    found = nasbench.results(results)
    row = found.runs[found.runs["run"] == searched.folder.relative_to(results).as_posix()]
    assert row["algorithm"].tolist() == ["ws-nas/local"]
    own = found.evaluations[found.evaluations["run_row"] == row.index[0]]
    pd.testing.assert_series_equal(
        own["error"].reset_index(drop=True), searched.evaluations["error"], check_names=False, check_dtype=False
    )


def test_exported_network_loads_with_the_size_of_the_front(searched: nasbench.Run, tmp_path: Path) -> None:
    model = searched.export(tmp_path / "pruned", max_params=1.0)
    sizes = set(searched.front["n_params"])
    assert sum(parameter.numel() for parameter in model.parameters()) in sizes
    assert sum(p.numel() for p in nasbench.load(tmp_path / "pruned").parameters()) in sizes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "ws-nsa"}, "unknown method 'ws-nsa'; did you mean 'ws-nas'"),
        ({"task": "rtee"}, "unknown task 'rtee'; did you mean 'rte'"),
        ({"searcher": "randm"}, "unknown searcher 'randm'; did you mean 'random'"),
        ({"options": {"n_randm": 3}}, "'n_randm'; did you mean 'n_random'"),
        ({"options": {"strategy": object()}}, "an option is a number, a text, true, false, None or a tuple"),
        ({"searcher_options": {"x": 1}}, "unknown option of searcher 'random'"),
        ({"seed": -1}, "--seed is from 0"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    arguments = {"method": "ws-nas", "task": TINY_PAIR, "model": TINY_BERT, "results": tmp_path, **changes}
    with pytest.raises(nasbench.UserError) as error:
        nasbench.run(**arguments)  # type: ignore[arg-type]
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_missing_run_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(nasbench.UserError, match=r"run\.json"):
        nasbench.Run(tmp_path)


def test_catalogues_map_names_to_declarations_and_classes() -> None:
    assert nasbench.tasks()["rte"].name == "rte"
    assert nasbench.models()["minilm-l6"].architecture == "bert"
    assert issubclass(nasbench.searchers()["random"], nasbench.Searcher)
    assert issubclass(nasbench.methods()["rfp"], nasbench.Method)
    assert repr(nasbench.models()).startswith("<models: bert-base-cased, ")


def test_sweep_hands_every_option_of_a_run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def grid(*_: Any, **options: Any) -> list[Any]:
        seen.update(options)
        return []

    monkeypatch.setattr(jobs, "grid", grid)
    values = {"budget_s": 7.0, "max_evaluations": 3, "precision": "fp32", "isolate": False}
    monkeypatch.setattr(cli_sweep, "plan", lambda *_: (None, []))
    monkeypatch.setattr(cli_sweep, "carry_out", lambda *_: None)
    assert nasbench.sweep(["rfp"], ["rte"], device="cpu", results=tmp_path, **values) == []  # type: ignore[arg-type]
    assert {name: seen[name] for name in values} == values


PROCESS = """
import sys
import nasbench
heavy = {"torch", "transformers", "pandas", "numpy", "matplotlib", "rich"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
before = list(nasbench.methods())
import nasbench.methods.ws_nas
assert list(nasbench.methods()) == before
assert nasbench.methods.ws_nas.WeightSharingNAS is nasbench.methods()["ws-nas"]
for name in nasbench.__all__:
    assert getattr(nasbench, name) is not None
assert set(nasbench.__all__) <= set(dir(nasbench))
try:
    nasbench.rnu
except AttributeError as error:
    assert "rnu" in str(error)
"""


def test_import_is_light_and_every_public_name_resolves() -> None:
    subprocess.run([sys.executable, "-c", PROCESS], check=True)


@pytest.mark.parametrize(
    "option",
    [{"isolate": True}, {"isolate": False}, {"data_dir": "data"}, {"precision": "bf16"}, {"threads": 2}],
    ids=str,
)
def test_option_that_a_table_has_no_use_for_is_refused(option: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(isolate|data_dir) has no use with a table|--table computes nothing"):
        nasbench.run("ws-nas", "demo", model="minilm-l6", table=True, results=tmp_path, **option)
    assert not list(tmp_path.iterdir())
