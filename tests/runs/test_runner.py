"""A run from its request to its record."""

import dataclasses
import json
import os

import numpy as np
import pytest
import torch
from support.permissions import read_only_folder
from support.runs import CONFIGS, QUICK, Trains, folder_of, run

from nasbench.errors import UserError
from nasbench.methods.random_search import RandomSearch
from nasbench.methods.ws_nas import WeightSharingNAS
from nasbench.records.record import RunFolder
from nasbench.runs import loading
from nasbench.runs.observer import Observer
from nasbench.testing.models import TINY_BERT, TINY_ROBERTA
from nasbench.testing.subject import MethodSubject, SteppingClock


def test_same_request_twice_gives_equal_records_except_for_times(tmp_path):
    subject = MethodSubject(WeightSharingNAS, tmp_path, QUICK, n_evaluations=6)
    outcomes = []
    for name, disturbance in (("a", 1), ("b", 2)):
        torch.manual_seed(disturbance)
        np.random.seed(disturbance)  # noqa: NPY002
        outcomes.append(subject.run(tmp_path / name, clock=lambda: float(os.times().elapsed)))
    first, second = outcomes
    assert len(first.evaluations) == 6
    assert first.comparable() == second.comparable()
    varying = {"charged_s", "uncharged_s", "started_at", "conditions", "evaluations_sha256"}  # the lines hold times
    records = [dataclasses.asdict(outcome.record) for outcome in outcomes]
    for record in records:
        del record["provenance"]["git_revision"]  # somebody may be committing
    assert {k: v for k, v in records[0].items() if k not in varying} == {
        k: v for k, v in records[1].items() if k not in varying
    }
    other = subject.run(tmp_path / "c", seed=8)
    assert other.comparable() != first.comparable()


def test_record_holds_identity_reasons_and_provenance(subject, results):
    outcome = run(subject, results, max_evaluations=4, unofficial=("task 'x' is not part of the suite",))
    record = outcome.record
    assert RunFolder(folder_of(results)).read_run() == record
    assert (record.status, record.reason) == ("complete", None)
    assert record.identity.budget_s == 1e6
    assert record.identity.max_evaluations == 4
    assert record.unofficial == [
        "task 'x' is not part of the suite",
        "a budget of 1e+06 s instead of 60 s",
        "limited to 4 evaluations",
    ]
    assert record.metric == "accuracy"
    assert len(record.provenance["data_sha256"]) == len(record.provenance["weights_sha256"]) == 64
    assert record.provenance["precision"] == "fp32"
    assert record.n_params_full == outcome.evaluations[0].n_params
    assert set(record.charged_s) == {"training", "validation", "search", "idle"}
    assert not (folder_of(results) / "checkpoints").exists()


def test_official_run_has_no_unofficial_reasons(subject, results):
    outcome = run(subject, results, budget_s=None, clock=SteppingClock())
    assert outcome.record.unofficial == []
    assert folder_of(results).name == "evaluates_small_cpu_seed3"


def test_only_seeds_0_to_9_are_official(subject, results):
    reasons = [run(subject, results, seed=seed).record.unofficial for seed in (9, 10)]
    assert [any("seed" in reason for reason in of_one) for of_one in reasons] == [False, True]
    assert "seed 10 is not one of 0 to 9" in reasons[1]


def test_record_says_which_options_are_changed(tmp_path):
    subject = MethodSubject(WeightSharingNAS, tmp_path, n_evaluations=None)
    options = WeightSharingNAS.Options(n_random=1, epochs=1)
    searcher = RandomSearch
    default = subject.request(tmp_path)
    assert loading.changed_options(default) == {"method": {}, "searcher": {}}
    changed = subject.request(tmp_path, method_options=options, searcher=searcher, searcher_options=searcher.Options())
    assert loading.changed_options(changed) == {"method": {"n_random": 1, "epochs": 1}, "searcher": {}}


def test_changed_options_are_on_disk_without_a_searcher_too(subject, results):
    assert run(subject, results).record.changed_options == {"method": {}}
    assert RunFolder(folder_of(results)).read_run().changed_options == {"method": {}}


def test_different_requests_have_different_folders(subject, results):
    changes = (
        {}, {"budget_s": 5.0}, {"max_evaluations": 3}, {"seed": 4}, {"space": "medium"},
        {"method_options": dataclasses.replace(QUICK)},
    )  # fmt: skip
    requests = [subject.request(results, **{"max_evaluations": None, **change}) for change in changes[:-1]]
    ws_nas = MethodSubject(WeightSharingNAS, results)
    requests += [ws_nas.request(results), ws_nas.request(results, **changes[-1])]
    folders = {request.folder for request in requests}
    assert len(folders) == len(requests)
    assert all(folder.parent == results / "tiny-pair" / "tiny-bert" for folder in folders)


def test_run_without_budget_and_limit_is_refused(subject, results):
    model = dataclasses.replace(TINY_BERT, track="paper")
    with pytest.raises(UserError, match="task 'tiny-pair' has no budget for 'tiny-bert' on a cpu; give --budget"):
        run(subject, results, model=model, budget_s=None)
    assert not results.exists()
    outcome = run(subject, results, model=model, budget_s=None, max_evaluations=2)
    assert len(outcome.evaluations) == 2
    assert json.loads((folder_of(results) / "run.json").read_text())["identity"]["budget_s"] is None


def test_roberta_runs(subject, results):
    outcome = run(subject, results, model=TINY_ROBERTA)
    assert outcome.record.status == "complete"
    assert len(outcome.evaluations) == len(CONFIGS)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs a POSIX system")
def test_read_only_results_folder_is_refused(subject):
    with (
        read_only_folder() as folder,
        pytest.raises(UserError, match=r"cannot write to the results folder .*: Permission denied"),
    ):
        run(subject, folder / "results")


def test_results_path_that_is_a_file_is_refused(subject, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UserError, match=r"cannot write to the results folder .*: Not a directory"):
        run(subject, file)
    assert file.read_text() == "mine"


def test_run_that_cannot_load_leaves_no_folder(subject, results, tmp_path):
    model = dataclasses.replace(TINY_BERT, generator=None, local_folder=str(tmp_path / "missing"))
    with pytest.raises(UserError, match=r"^no saved model in .*missing: it has no config\.json$"):
        run(subject, results, model=model)
    assert list(results.rglob(".lock")) == []


def test_run_fails_if_its_budget_ends_in_training(results, tmp_path):
    outcome = run(MethodSubject(Trains, tmp_path, n_evaluations=None), results, clock=SteppingClock(), budget_s=10)
    assert outcome.record.status == "failed"
    assert outcome.record.reason.startswith("the method ended, or its budget did, before anything was evaluated")
    assert sum(outcome.record.charged_s.values()) >= 10


def test_record_holds_the_summary_of_the_data(subject, results):
    seen = []

    class Watcher(Observer):
        def data_loaded(self, summary):
            seen.append(("data", summary))

        def run_started(self, record, *_):
            seen.append(("start", record))

    record = run(subject, results, max_evaluations=2, observer=Watcher()).record
    (_, summary), (_, started) = seen
    assert [name for name, _ in seen] == ["data", "start"]
    assert record.data_summary == started.data_summary == summary.to_json()
    validation = record.data_summary["splits"]["validation"]
    assert record.constant_error == pytest.approx(1 - validation["majority"])
    text = RunFolder(folder_of(results)).path / "run.json"
    assert json.loads(text.read_text())["data_summary"]["splits"]["test"]["rows"] == 32
