"""What the tests of baselines without training share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nasbench.baselines.masks.calibration import CalibrationOptions
from nasbench.declarations.task import Task
from nasbench.plugins.method import Method
from nasbench.records.record import RunFolder
from nasbench.runs import runner
from nasbench.testing.decoders import TINY_GPT2, TINY_GPT_NEOX, TINY_LLAMA
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_PAIR, TINY_TEXT

SCENES = pytest.mark.parametrize(
    ("model", "task"),
    [(TINY_LLAMA, TINY_TEXT), (TINY_GPT2, TINY_PAIR), (TINY_GPT_NEOX, TINY_TEXT), (TINY_BERT, TINY_PAIR)],
    ids=["llama text", "gpt2 pair", "gpt-neox text", "bert pair"],
)


def complete_run(
    method: type[Method], folder: Path, model: Any = TINY_LLAMA, task: Task = TINY_TEXT, **options: Any
) -> tuple[Any, list[Any], Path]:
    """The record, the evaluations and the folder of a complete run with these options of the calibration."""
    chosen = CalibrationOptions(**options)
    subject = MethodSubject(method, folder, options=chosen, task=task, model=model, n_evaluations=None)
    request = subject.request(folder / "results", budget_s=1e6)
    record = runner.run(request)
    assert record.status == "complete", record.reason
    return record, RunFolder(request.folder).read_evaluations(record), request.folder
