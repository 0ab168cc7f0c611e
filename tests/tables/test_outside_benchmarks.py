"""A table as a benchmark of other libraries: the values are those of the table, and their optimisers run on it."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.libraries import NEEDS_OPTUNA, NEEDS_SYNE_TUNE

from nasbench.tables.table import Table, find_tables


@pytest.fixture(scope="module")
def table() -> Table:
    return next(table for table in find_tables() if table.info.task == "demo")


def rows(table: Table) -> list[dict[str, float]]:
    """Some rows as the file has them."""
    found = pq.read_table(table.path, columns=["heads", "units", "layers", "error", "params", "seconds"]).to_pylist()
    return [found[i] for i in np.random.default_rng(0).choice(len(found), 20, replace=False)]


@NEEDS_OPTUNA
def test_optuna_problem_has_the_values_of_the_table(table: Table) -> None:
    from nasbench.tables.optuna_problem import OptunaProblem

    problem = OptunaProblem(table)
    for row in rows(table):
        params = {name: row[name] for name in ("heads", "units", "layers")}
        assert problem.evaluate(params) == pytest.approx((row["error"], row["params"]), abs=1e-12)
    with pytest.raises(ValueError, match=r"units = 100 is not a multiple of 96"):
        problem.evaluate({"heads": 1, "units": 100, "layers": 1})


@NEEDS_OPTUNA
def test_optuna_study_runs_on_a_table(table: Table) -> None:
    import optuna

    from nasbench.tables.optuna_problem import OptunaProblem

    problem = OptunaProblem(table)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=problem.directions, sampler=optuna.samplers.NSGAIISampler(seed=0))
    study.optimize(problem, n_trials=30)
    for trial in study.trials:
        assert list(problem.evaluate(trial.params)) == trial.values
    assert len({tuple(trial.values) for trial in study.trials}) > 10


@NEEDS_SYNE_TUNE
def test_blackbox_of_syne_tune_has_the_values_of_the_table(table: Table) -> None:
    from nasbench.tables.syne_tune_blackbox import make_blackbox

    blackbox = make_blackbox(table)
    for row in rows(table):
        config = {name: int(row[name]) for name in ("heads", "units", "layers")}
        found = blackbox.objective_function(config, fidelity={"evaluation": 1}, seed=0)
        assert found == {name: pytest.approx(row[name]) for name in ("error", "params", "seconds")}


@NEEDS_SYNE_TUNE
def test_scheduler_of_syne_tune_runs_on_the_simulated_clock(table: Table, tmp_path, monkeypatch) -> None:
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend.simulator_backend.simulator_callback import SimulatorCallback
    from syne_tune.optimizer.schedulers.single_objective_scheduler import SingleObjectiveScheduler

    from nasbench.tables.syne_tune_blackbox import make_backend

    monkeypatch.setenv("SYNETUNE_FOLDER", str(tmp_path))
    backend = make_backend(table)
    scheduler = SingleObjectiveScheduler(
        backend.blackbox.configuration_space, searcher="random_search", metric="error", do_minimize=True, random_seed=0
    )
    callback = SimulatorCallback()
    stop = StoppingCriterion(max_num_trials_finished=10)
    Tuner(backend, scheduler, stop, n_workers=1, sleep_time=0, callbacks=[callback], print_update_interval=1e6).run()
    results = callback._results_callback.results if hasattr(callback, "_results_callback") else callback.results
    seconds = [result["seconds"] for result in results]
    assert len(results) >= 10
    assert all(result["error"] <= 1 for result in results)
    assert max(result["st_tuner_time"] for result in results) >= sum(seconds) * 0.99
