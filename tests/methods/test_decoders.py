"""Methods and baselines prune decoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.runs import assert_valid_record

from nasbench.plugins import registry
from nasbench.records.record import RunFolder
from nasbench.runs import runner
from nasbench.testing.decoders import TINY_GPT2, TINY_LLAMA
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_PAIR, TINY_REGRESSION


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("ws-nas", TINY_REGRESSION),
        ("ws-nas-depth", TINY_PAIR),
        ("rfp", TINY_PAIR),
        ("head-pruning", TINY_PAIR),
        ("layer-dropping", TINY_PAIR),
    ],
)
@pytest.mark.parametrize("model", [TINY_LLAMA, TINY_GPT2], ids=lambda model: model.name)
def test_run_on_a_decoder_writes_a_valid_record(name: str, task: Any, model: Any, tmp_path: Path) -> None:
    subject = MethodSubject(registry.methods()[name], tmp_path / "files", task=task, model=model, n_evaluations=3)
    request = subject.request(tmp_path / "results")
    assert_valid_record(runner.run(request), RunFolder(request.folder), task)
