"""Faults of the machine while a run lasts: each has the outcome that docs/faults.md says, and loses nothing."""

import dataclasses
import errno
import os
import resource
import socket
import time

import pytest
import torch
from support.runs import CONFIGS, Evaluates, Trains, folder_of, run

from nasbench.baselines.low_rank import LowRank, LowRankOptions
from nasbench.errors import Interrupted, NasbenchError, UserError
from nasbench.methods.moasha import Moasha
from nasbench.methods.s_nas import StandardNAS
from nasbench.networks.attention import Noise
from nasbench.networks.supernet import SuperNetwork
from nasbench.records import resume
from nasbench.records.record import RunFolder
from nasbench.records.resume import locked
from nasbench.runs.observer import Observer
from nasbench.testing.subject import MethodSubject, SteppingClock
from nasbench.training.evaluation import Evaluator
from nasbench.training.trainer import Trainer

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nand more lines")


def test_full_disk_ends_the_run_with_one_line_and_it_resumes(subject, results, monkeypatch):
    """The limit of a file's size is a real error of the system in the middle of a line."""
    expected = run(subject, results / "usual")
    append = RunFolder.append
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(folder, evaluation):
        if evaluation.index == 2:
            size = (folder.path / RunFolder.EVALUATIONS).stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
        try:
            append(folder, evaluation)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append", full)
        with pytest.raises(
            NasbenchError, match=r"cannot write \S+evaluations.jsonl: .*; once that is mended, the same"
        ):
            run(subject, results / "full")
    folder = RunFolder(folder_of(results / "full"))
    assert (folder.path / RunFolder.EVALUATIONS).read_bytes().endswith(b"\n")  # no part of the third line is left
    assert len(folder.read_evaluations(folder.read_run())) == 2
    assert run(subject, results / "full").comparable() == expected.comparable()


@pytest.mark.parametrize("event", ["training", "evaluated"])
@pytest.mark.parametrize(
    "error",
    [SystemExit(1), BrokenPipeError(errno.EPIPE, "Broken pipe"), OSError(errno.ENOSPC, "No space left on device")],
    ids=["rich on a closed pipe", "a closed pipe", "a full disk"],
)
def test_output_that_cannot_be_written_interrupts_the_run_and_it_resumes(results, tmp_path, event, error):
    """It is no fault of the method: the record does not fail, and the checkpoint stays."""
    subject = MethodSubject(Trains, tmp_path / "subject", n_evaluations=None)
    expected = run(subject, results / "usual")
    lost = Observer()

    def fails(*_):
        raise error

    setattr(lost, event, fails)
    with pytest.raises(Interrupted, match="the same command resumes it"):
        run(subject, results / "lost", observer=lost)
    folder = RunFolder(folder_of(results / "lost"))
    assert folder.read_run().status == "running"
    assert run(subject, results / "lost").comparable() == expected.comparable()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_lost_permission_ends_the_run_with_one_line_and_it_resumes(subject, results, monkeypatch, number):
    calls = []

    def fails(_):
        calls.append(1)
        if len(calls) > 12:
            raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(NasbenchError, match=rf"cannot write .*: {os.strerror(number)}"):
            run(subject, results)
    assert RunFolder(folder_of(results)).read_run().status == "running"
    assert run(subject, results).record.status == "complete"


def test_clock_that_is_set_back_charges_nothing_twice(subject, results):
    clock = SteppingClock()

    def set_back():
        return clock() - (1000 if clock.n_readings % 40 > 30 else 0)

    outcome = run(subject, results, clock=set_back)
    elapsed = [evaluation.elapsed_s for evaluation in outcome.evaluations]
    assert elapsed == sorted(elapsed)
    record = outcome.record
    assert record.status == "complete"
    assert 0 < sum(record.charged_s.values()) + sum(record.uncharged_s.values()) <= clock.n_readings


def test_networks_whose_outputs_are_not_finite_are_failed_evaluations(results, tmp_path):
    class Breaks(Evaluates):
        name = "breaks"

        def run(self, problem):
            network = problem.pretrained()
            problem.evaluate(network, CONFIGS[0])
            broken = network.copy("broken")
            with torch.no_grad():
                next(iter(broken.parameters())).fill_(float("nan"))
            problem.evaluate(broken, CONFIGS[1])

    evaluations = run(MethodSubject(Breaks, tmp_path), results).evaluations
    assert [evaluation.status for evaluation in evaluations] == ["ok", "failed"]
    assert "finite" in evaluations[1].reason


class Limited:
    """A device that holds a number of examples at a time."""

    def __init__(self, monkeypatch, n):
        self.n, embed = n, SuperNetwork.embed

        def limited(network, batch, *others):
            if len(batch.input_ids) > self.n:
                raise FULL
            return embed(network, batch, *others)

        monkeypatch.setattr(SuperNetwork, "embed", limited)


def test_evaluations_halve_their_batches_until_they_fit(subject, results, monkeypatch):
    expected = run(subject, results / "usual")
    Limited(monkeypatch, 3)
    outcome = run(subject, results / "small")
    for found, usual in zip(outcome.evaluations, expected.evaluations, strict=True):
        assert (found.error, found.test_error) == pytest.approx((usual.error, usual.test_error))
    assert outcome.record.status == "complete"


def test_evaluation_that_fits_no_memory_fails_and_the_run_goes_on(subject, results, monkeypatch):
    limited = Limited(monkeypatch, 10**6)
    over = Evaluator.logits

    def logits(evaluator, network, subnetwork=None):
        limited.n = 0 if subnetwork.head_counts.sum() == 0 else 10**6
        return over(evaluator, network, subnetwork)

    monkeypatch.setattr(Evaluator, "logits", logits)
    evaluations = run(subject, results).evaluations
    failed = [evaluation for evaluation in evaluations if evaluation.status == "failed"]
    assert failed == [evaluation for evaluation in evaluations if sum(evaluation.head_counts) == 0]
    assert failed
    assert len(failed) < len(evaluations)
    assert {evaluation.reason for evaluation in failed} == {"CUDA out of memory. Tried to allocate 2 GiB"}


def test_network_whose_test_fits_no_memory_is_recorded_without_test_results(subject, results, monkeypatch):
    over = Evaluator.logits
    seen = set()

    def logits(evaluator, network, subnetwork=None):
        seen.add(id(evaluator))
        if len(seen) > 1 and id(evaluator) != validator[0]:
            raise FULL
        validator.append(id(evaluator))
        return over(evaluator, network, subnetwork)

    validator = []
    monkeypatch.setattr(Evaluator, "logits", logits)
    outcome = run(subject, results)
    assert outcome.record.status == "complete"
    assert all(evaluation.error is not None and evaluation.test_error is None for evaluation in outcome.evaluations)
    assert outcome.record.notes[0] == "evaluation 0 has no test results: CUDA out of memory. Tried to allocate 2 GiB"


def test_training_in_parts_has_the_gradient_of_the_whole_batch(tmp_path, monkeypatch):
    gradients = []
    step = torch.optim.AdamW.step

    def noted(optimizer, *others):
        gradients.append([p.grad.clone() for group in optimizer.param_groups for p in group["params"]])
        return step(optimizer, *others)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    monkeypatch.setattr(Noise, "dropout", lambda _, x, rate: x)  # noqa: ARG005 - the masks of parts differ
    Limited(monkeypatch, 10**6)
    outcomes = []
    for n in (10**6, 1):
        gradients.clear()
        Limited(monkeypatch, n)
        trainer = _trainer(tmp_path / str(n))
        trainer._make_step()
        outcomes.append((trainer.n_parts, [*gradients[0]]))
    (one, whole), (many, parts) = outcomes
    assert (one, many) == (1, 4)
    for found, expected in zip(parts, whole, strict=True):
        assert torch.allclose(found, expected, atol=1e-6)


def _trainer(folder):
    """The trainer of a run on the tiny network, without dropout, before its first step."""
    found = []

    class Takes(Evaluates):
        name = "takes"

        def run(self, problem):
            network = problem.pretrained()
            for module in network.model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
            fine_tuning = dataclasses.replace(problem.fine_tuning, batch_size=4)
            found.append(problem._trainer(network, None, fine_tuning, None))
            super().run(problem)

    run(MethodSubject(Takes, folder), folder / "runs")
    found[0].network.model.train()
    return found[0]


@pytest.mark.parametrize("searcher", [None, Moasha])  # the second names a network by its epoch
def test_training_that_fits_no_memory_is_a_failed_evaluation_and_the_search_goes_on(
    results, tmp_path, monkeypatch, searcher
):
    make_step = Trainer._make_step

    def limited(trainer):
        if trainer.network.is_extracted and trainer.network.name == first[0]:
            raise FULL
        return make_step(trainer)

    first = []
    extract = SuperNetwork.extract

    def extracted(network, *arguments, **others):
        made = extract(network, *arguments, **others)
        if not first:
            first.append(made.name)
        return made

    monkeypatch.setattr(SuperNetwork, "extract", extracted)
    monkeypatch.setattr(Trainer, "_make_step", limited)
    outcome = run(MethodSubject(StandardNAS, tmp_path, searcher=searcher, n_evaluations=4), results)
    assert outcome.record.status == "complete"
    failed = [evaluation for evaluation in outcome.evaluations if evaluation.status == "failed"]
    assert len(failed) == 1
    assert "one example at a time needs too much memory" in failed[0].reason
    assert len(outcome.evaluations) == 4


def test_module_whose_training_fits_no_memory_is_a_failed_evaluation(results, tmp_path, monkeypatch):
    make_step = Trainer._make_step

    def limited(trainer):
        if trainer.network.name == "share-0.5":
            raise FULL
        return make_step(trainer)

    monkeypatch.setattr(Trainer, "_make_step", limited)
    options = LowRankOptions(epochs=1, tuning_epochs=1)
    outcome = run(MethodSubject(LowRank, tmp_path, options, n_evaluations=3), results)
    assert [evaluation.status for evaluation in outcome.evaluations] == ["ok", "failed", "ok"]


def test_super_network_whose_training_fits_no_memory_ends_the_run(results, tmp_path, monkeypatch):
    Limited(monkeypatch, 0)
    outcome = run(MethodSubject(Trains, tmp_path), results)
    assert outcome.record.status == "failed"
    assert outcome.record.reason.startswith("training of 'trained' ended at step 0 of ")


def test_holder_of_a_run_is_named(tmp_path):
    with (
        locked(tmp_path / "run"),
        pytest.raises(
            NasbenchError, match=rf"in another process: .* \(process {os.getpid()} on {socket.gethostname()}\)"
        ),
        locked(tmp_path / "run"),
    ):
        pass


@pytest.mark.parametrize(("age_s", "refused"), [(1, True), (100, False)])
def test_holder_on_another_machine_counts_while_it_shows_life(tmp_path, age_s, refused):
    """On a file system that does not show locks to other machines."""
    folder = tmp_path / "run"
    folder.mkdir()
    holder = folder / ".holder"
    holder.write_text('{"host": "node7", "process": 12}')
    (folder / "run.json").write_text("{}")
    os.utime(holder, (time.time() - age_s, time.time() - age_s))
    if refused:
        with (
            pytest.raises(UserError, match=r"\(process 12 on node7\); if that machine is lost, try again"),
            locked(folder),
        ):
            pass
    else:
        with locked(folder):
            assert f'"process": {os.getpid()}' in holder.read_text()
    assert holder.exists() == refused


def test_holder_shows_life(tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "BEAT_S", 0.01)
    with locked(tmp_path / "run"):
        holder = tmp_path / "run" / ".holder"
        os.utime(holder, (0, 0))
        for _ in range(1000):
            if holder.stat().st_mtime > 0:
                break
            time.sleep(0.01)
        assert holder.stat().st_mtime > 0


def test_training_whose_optimizer_does_not_fit_is_a_failed_evaluation(results, monkeypatch):
    """S-NAS goes on with the next network; a super-network ends the run with one line."""
    reasons = []

    class Lacking(Trainer):
        def __init__(self, *arguments):
            reasons.append(1)
            if len(reasons) == 2:
                raise FULL
            super().__init__(*arguments)

    monkeypatch.setattr("nasbench.runs.problem.Trainer", Lacking)
    outcome = run(MethodSubject(StandardNAS, results), results / "standard", max_evaluations=3)
    assert [each.status for each in outcome.evaluations] == ["ok", "failed", "ok"]
    assert "did not begin: CUDA out of memory. Tried to allocate 2 GiB; its gradients" in outcome.evaluations[1].reason
    reasons[:] = [1]
    failed = run(MethodSubject(Trains, results / "method"), results / "shared").record
    assert failed.status == "failed"
    assert "did not begin: CUDA out of memory" in failed.reason
