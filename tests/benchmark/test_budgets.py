"""Named budgets against the declarations that they are computed from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from nasbench.benchmark.budgets import BUDGETS, SECONDS_PER_EVALUATION, SECONDS_PER_STEP, budget_by_name
from nasbench.cli.commands.budgets import seconds_of
from nasbench.errors import UserError
from nasbench.plugins import registry
from nasbench.runs.harness import MOST_EVALUATIONS

PAPER = {
    **dict.fromkeys(("rte", "mrpc", "stsb", "cola"), 7_200),
    **dict.fromkeys(("imdb", "sst2", "swag", "qnli"), 14_400),
}
# Optimizer steps of 5 epochs at batch size 4, from the paper's rows: 70 % of them, or all but 2,048 if that is more.
N_STEPS = {
    "rte": 2_180, "mrpc": 3_210, "stsb": 5_030, "cola": 7_485,
    "imdb": 28_690, "sst2": 81_630, "swag": 89_375, "qnli": 128_370,
}  # fmt: skip
N_SEQUENCES = {"swag": 4}
"""Sequences of an example, where it is more than one."""


def test_budget_of_the_paper_is_the_paper_s() -> None:
    assert BUDGETS["paper"] == PAPER


@pytest.mark.parametrize("name", PAPER)
def test_estimates_hold_a_training_and_no_more_evaluations_than_a_record(name: str) -> None:
    task, fine_tuning = registry.tasks()[name], registry.models()["bert-base-cased"].super_network
    assert task.data.n_rows is not None
    n = task.data.n_rows[0]
    n_validation = min(round(task.validation_fraction * n), task.validation_limit or n)
    n_steps = -(-(n - n_validation) // fine_tuning.batch_size) * fine_tuning.epochs
    assert n_steps == N_STEPS[name]
    budget_s, n_sequences = BUDGETS["card-estimate"][name], N_SEQUENCES.get(name, 1)
    training_s = n_steps * SECONDS_PER_STEP * n_sequences
    assert training_s <= 0.8 * budget_s
    evaluation_s = SECONDS_PER_EVALUATION * n_validation * n_sequences / 747  # examples of RTE's validation split
    assert (budget_s - training_s) / evaluation_s < MOST_EVALUATIONS
    assert budget_s < PAPER[name]


def test_budget_by_name() -> None:
    tasks, models = registry.tasks(), registry.models()
    assert budget_by_name("card-estimate", tasks["rte"], models["bert-base-cased"], "gpu") == 300
    assert budget_by_name("paper", tasks["qnli"], models["mpnet-base"], "gpu") == 14_400
    with pytest.raises(UserError, match="unknown budget 'card-estimates'; did you mean 'card-estimate'"):
        budget_by_name("card-estimates", tasks["rte"], models["bert-base-cased"], "gpu")
    others = (("demo", "demo-bert", "gpu"), ("rte", "minilm-l6", "gpu"), ("rte", "mpnet-base", "cpu"))
    for task, model, device in others:
        with pytest.raises(UserError, match="give --budget SECONDS"):
            budget_by_name("paper", tasks[task], models[model], device)


def test_budget_by_name_on_the_command_line(nasbench: Callable[..., Any]) -> None:
    run = ("run", "--method", "rfp", "--task", "rte", "--model", "bert-base-cased", "--device", "cpu", "--budget")
    said = nasbench(*run, "card-estimate")
    assert said.code == 2
    assert "not for 'rte' with 'bert-base-cased' on a cpu; give --budget SECONDS" in said.err
    assert "unknown budget 'cards'; did you mean" in nasbench(*run, "cards").err
    assert "--budget is a positive number of seconds, not -1" in nasbench(*run, "-1").err


def test_named_budget_is_seconds_for_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert seconds_of("card-estimate", "cola", None, "auto") == 300  # BERT-base is the default on a GPU
    assert seconds_of("paper", "cola", "roberta-base", "cuda") == 7_200
    assert seconds_of("12.5", "cola", None, "auto") == 12.5
    assert seconds_of(None, "cola", None, "auto") is None


def test_a_sweep_takes_the_named_budget_of_each_task(
    nasbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    sweep = ("sweep", "--method", "rfp", "--task", "rte,imdb", "--seed", "0", "--model", "roberta-base", "--dry-run")
    commands = [line for line in nasbench(*sweep, "--budget", "card-estimate").out.splitlines() if "--task" in line]
    assert [line.split("--budget ")[1].split()[0] for line in commands] == ["300", "600"]
    assert "unknown budget 'cards'; did you mean" in nasbench(*sweep, "--budget", "cards").err
