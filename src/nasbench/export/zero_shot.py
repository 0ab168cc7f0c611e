"""Measure the networks of a finished language model run on tasks that need no training, off its clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from nasbench.data.endings import set_padding
from nasbench.data.splits import load_task_data
from nasbench.declarations.task import Task
from nasbench.errors import UserError
from nasbench.export.folder import held
from nasbench.export.loading import load_tokenizer
from nasbench.networks.pretrained import Pretrained
from nasbench.records import provenance
from nasbench.records.checkpoints import Checkpoints
from nasbench.records.front import front_of, full_network, spread
from nasbench.records.record import RunFolder
from nasbench.records.zero_shot import MeasuredNetwork, OnTask
from nasbench.training import metrics
from nasbench.training.evaluation import Evaluator, Logits

MOST_NETWORKS = 4
"""Networks of the front beside the full network; a longer front is thinned evenly."""
Z = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


class Interval(NamedTuple):
    """A metric with its 95 % interval."""

    value: float
    low: float
    high: float


def measure(run_folder: Path, task: Task, data_dir: Path | None = None, most: int = MOST_NETWORKS) -> OnTask:
    """Measure the full network of a run and networks of its front on the test examples of a task, on this CPU.

    Nothing is trained and nothing is chosen by these examples, so their number is that of the task's test split. Where
    an example is a start and an ending (LAMBADA), the value is the accuracy of the ending under greedy decoding, as
    Paperno et al. (2016, ACL) count it.

    Args:
        run_folder: the run's folder, with its weights. The run must have pruned a language model.
        data_dir: folder of local data; None for the environment variable or the hub.
        most: number of networks of the front; a longer front is thinned evenly.

    Raises:
        UserError: one line, if there is no such run, it has pruned a classifier, the task needs a trained classifier,
            nothing was evaluated, or weights or data are missing.
    """
    run = RunFolder(run_folder)
    if not run.exists():
        raise UserError(f"no run in {run_folder}: it has no {RunFolder.RUN}")
    record = run.read_run()
    if record.interface is None or not record.interface.is_language_model:
        raise UserError(f"{run_folder} has pruned a classifier; zero-shot tasks need a language model (task wikitext2)")
    if not task.needs_language_model:
        raise UserError(f"task {task.name!r} needs a trained classifier; choose a zero-shot task, such as piqa")
    evaluations = run.read_evaluations(record)
    full, front = full_network(record, evaluations), front_of(evaluations)
    if full is None or full.weights is None:
        raise UserError(f"{run_folder} has no weights of the full network, beside which others are measured")
    networks: list[MeasuredNetwork] = []
    evaluator, data_sha256 = None, ""
    for evaluation in (full, *spread([each for each in front if each.index != full.index], most)):
        network = held(run_folder, record, evaluation)
        if evaluator is None:
            tokenizer = load_tokenizer(Checkpoints(run_folder).architecture, network.model)
            set_padding(tokenizer)
            data = load_task_data(task, tokenizer, record.identity.seed, data_dir)
            Pretrained(network.model, tokenizer, "", output_is_new=False).check_fits(data)
            evaluator = Evaluator(data.test, task, int(tokenizer.pad_token_id), torch.device("cpu"))
            data_sha256 = data.sha256
        network.n_choices = evaluator.n_choices
        if task.continues_texts:
            found = of_accuracy(evaluator.are_likeliest(network))
        else:
            found = with_interval(task, evaluator.logits(network), evaluator.labels)
        networks.append(MeasuredNetwork(evaluation.index, evaluation is full, evaluation.params, *found))
    assert evaluator is not None
    constant = metrics.constant_error(task.metric, task.kind, task.n_labels, evaluator.labels)
    return OnTask(
        task=task.name,
        metric="accuracy" if task.continues_texts else task.metric,
        n_examples=len(evaluator.labels),
        chance=0.0 if task.continues_texts else 1 - constant,
        data_sha256=data_sha256,
        precision=str(record.provenance.get("precision", "fp32")),
        packages=provenance.describe(torch.device("cpu"))["packages"],
        networks=networks,
    )


def with_interval(task: Task, logits: Logits, labels: npt.NDArray[Any]) -> Interval:
    """The task's metric on examples, with its 95 % interval over examples like these.

    Of an accuracy it is Wilson's, see :func:`of_accuracy`. Of a share of bits to bytes it is that of a ratio of two
    means, by the delta method.

    Args:
        logits: ``(n, n_logits)``.
        labels: ``(n,)``.
    """
    value, n = metrics.compute((task.metric,), task.kind, logits, labels)[task.metric], len(labels)
    if task.kind == "zero_shot_choice":
        return of_accuracy(logits.argmax(1) == labels)
    sizes = labels.astype(np.float64)
    coded = -logits[:, 0].astype(np.float64) / 8
    mean = float(coded.sum() / sizes.sum())  # not 1 - value, which has a bound
    rest = coded - mean * sizes
    half = Z * float(np.sqrt((rest**2).sum() * n / max(1, n - 1))) / float(sizes.sum())
    return Interval(value, max(-1.0, 1 - mean - half), max(-1.0, 1 - mean + half))


def of_accuracy(is_right: npt.NDArray[np.bool_]) -> Interval:
    """The share of right answers, with its interval over examples like these (Wilson 1927, JASA 22:209-212).

    Args:
        is_right: ``(n,)``.
    """
    value, n = float(is_right.mean()), len(is_right)
    middle = (n * value + Z**2 / 2) / (n + Z**2)
    half = Z / (n + Z**2) * float(np.sqrt(n * value * (1 - value) + Z**2 / 4))
    return Interval(value, max(0.0, middle - half), min(1.0, middle + half))
