"""An isolated run of a built-in method is the run that it would be in the harness's process."""

import pytest
from support.runs import InterruptsAt, Steps

from nasbench.isolation import running
from nasbench.isolation.stand_in import describe
from nasbench.methods.ws_nas import WeightSharingNAS
from nasbench.plugins.registry import PluginError
from nasbench.records.record import RunFolder
from nasbench.runs import runner
from nasbench.runs.request import make_request
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import Killed, KillingObserver, Outcome
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION

QUICK = ("strategy=sandwich", "n_random=1", "learning_rate=1e-3", "batch_size=8", "epochs=1")
CASES = [
    ("ws-nas", TINY_PAIR, "small", (*QUICK, "searcher.population_size=4"), "nsga2"),
    ("ws-nas-depth", TINY_CHOICE, "small", QUICK, None),
    ("s-nas", TINY_REGRESSION, "medium", ("batch_size=8",), "moasha"),
    ("rfp", TINY_PAIR, "large", ("batch_size=8", "epochs=1"), None),
    ("distillation", TINY_REGRESSION, "large", ("batch_size=8", "epochs=1"), None),
    ("low-rank", TINY_CHOICE, "ranks", ("batch_size=8", "epochs=1", "tuning_epochs=1"), None),
    ("layer-dropping", TINY_PAIR, "layer", ("batch_size=8", "epochs=1"), None),
]


def arguments(task, space, settings, searcher, results):
    usual = {"model": TINY_BERT, "precision": "fp32", "seed": 3, "max_evaluations": 7, "plugins": ()}
    return {"task": task, "space": space, "settings": settings, "searcher": searcher, "results": results, **usual}


def in_process(method, observer=None, **changes):
    request = make_request(method, **changes)
    record = runner.run(request, observer)
    return Outcome(record, RunFolder(request.folder).read_evaluations())


@pytest.mark.parametrize(("method", "task", "space", "settings", "searcher"), CASES)
def test_isolated_run_makes_the_evaluations_of_a_run_in_process(
    run_isolated, tmp_path, method, task, space, settings, searcher
):
    changes = arguments(task, space, settings, searcher, tmp_path / "b")
    usual = in_process(method, **changes)
    found = run_isolated(method, **{**changes, "results": tmp_path / "a"}, budget_s=None)
    assert found.record.status == usual.record.status == "complete"
    assert found.comparable() == usual.comparable()
    assert found.record.identity == usual.record.identity
    assert found.record.changed_options == usual.record.changed_options
    assert found.record.unofficial == usual.record.unofficial
    assert found.record.provenance.pop("isolation")["network"] in ("no network", "no TCP", "open")
    assert {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()} == {
        path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("at", [5, 14])
def test_killed_run_resumes_isolated_and_in_process(run_isolated, tmp_path, at):
    method, task, space, settings, searcher = CASES[0]
    changes = arguments(task, space, settings, searcher, tmp_path / "whole")
    whole = in_process(method, **changes)
    changes["results"] = tmp_path / "killed"
    with pytest.raises(Killed):
        run_isolated(method, KillingObserver(at), budget_s=None, **changes)
    with pytest.raises(Killed):
        in_process(method, KillingObserver(1), **changes)
    resumed = run_isolated(method, budget_s=None, **changes)
    assert resumed.comparable() == whole.comparable()


RUNS_OUT = """
import torch
from nasbench import Method
from nasbench.training.trainer import Trainer


def fails(_):
    raise torch.OutOfMemoryError("no memory is left")


class RunsOut(Method):
    name, summary = "runs-out", "a training in its own process does not fit the memory"

    def run(self, problem):
        config = problem.space.midpoint
        full = problem.pretrained()
        problem.evaluate(full, problem.space.largest)
        small = full.extract(problem.space.to_subnetwork(config), "small")
        make_step, Trainer._make_step = Trainer._make_step, fails
        problem.training(small).run()
        Trainer._make_step = make_step
        problem.evaluate(small.renamed("small-again"), config)
"""


def test_training_without_memory_is_a_failed_evaluation_isolated_and_in_process(run_isolated, tmp_path):
    plugin = tmp_path / "runs_out.py"
    plugin.write_text(RUNS_OUT)
    changes = arguments(TINY_PAIR, "small", (), None, tmp_path / "b")
    usual = in_process("runs-out", **{**changes, "plugins": (plugin,)})
    found = run_isolated("runs-out", **{**changes, "plugins": (plugin,), "results": tmp_path / "a"}, budget_s=None)
    for outcome in (usual, found):
        assert [evaluation.status for evaluation in outcome.evaluations] == ["ok", "failed"]
        assert "training of 'small' ended at step 0" in outcome.evaluations[1].reason
    assert found.evaluations[1].reason == usual.evaluations[1].reason


def test_searcher_that_is_named_and_not_described_is_not_looked_up(monkeypatch):
    """Its name could be that of an installed package, which the look-up would import into the harness."""
    description = describe(WeightSharingNAS, WeightSharingNAS.Options())
    monkeypatch.setattr(running, "_described", lambda *_: {"method": description, "searcher": None})
    with (
        pytest.raises(PluginError, match="method 'ws-nas' names a searcher and does not describe it"),
        running.isolated("ws-nas", TINY_PAIR, model=TINY_BERT),
    ):
        pass


TWO_TRAININGS = ("ws-nas-ordered", TINY_PAIR, "large", ("batch_size=8", "epochs=2", "fine_tuning_epochs=1"), "random")


@pytest.mark.parametrize(("case", "n_before"), [(CASES[0], 0), (TWO_TRAININGS, 9)])
def test_interrupt_saves_the_training(run_isolated, tmp_path, case, n_before):
    method, task, space, settings, searcher = case
    changes = arguments(task, space, settings, searcher, tmp_path / "whole")
    whole = in_process(method, **changes)
    changes["results"] = tmp_path / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        run_isolated(method, InterruptsAt(2, n_before), budget_s=None, **changes)
    assert next((tmp_path / "interrupted").rglob("training.pt")).stat().st_size > 0
    steps = Steps()
    resumed = run_isolated(method, steps, budget_s=None, **changes)
    assert steps.seen[0][0] > 2
    assert len(steps.seen) < 9
    assert resumed.comparable() == whole.comparable()
