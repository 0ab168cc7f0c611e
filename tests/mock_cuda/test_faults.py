"""What a card or its driver can refuse: what a run does then, in one line."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mock_cuda.card import CAPTURE_UNSUPPORTED, OUT_OF_MEMORY, counted, failing_capture, limited_memory

from nasbench.declarations.model import TrainingConfiguration
from nasbench.networks.space import make_space
from nasbench.networks.supernet import SuperNetwork
from nasbench.records.record import RunFolder
from nasbench.testing.models import TINY_BERT
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_PAIR
from nasbench.training.evaluation import Evaluator
from nasbench.training.strategies import TrainingStrategy
from nasbench.training.trainer import Trainer

CARD = torch.device("cuda")
OnCard = Callable[..., subprocess.CompletedProcess[str]]
RUN = ("run", "--method", "ws-nas", "--task", "demo", "--model", "demo-bert", "--max-evaluations", "3")


def _trainer(batch_size: int = 8) -> Trainer:
    tiny, strategy = tiny_network(TINY_BERT, TINY_PAIR, dropout=0.1), TrainingStrategy()
    tiny.network.model.to(CARD)
    network = SuperNetwork(tiny.network.model, "bf16")
    space = make_space("small", network.dims)
    fine_tuning = TrainingConfiguration(learning_rate=1e-4, batch_size=batch_size, epochs=1)
    return Trainer(
        network, tiny.data.train, "classification", fine_tuning,
        lambda step, n, rng: strategy.step(step, n, space, rng), strategy, tiny.pad_id, seed=5,
    )  # fmt: skip


@pytest.mark.parametrize("node", [1, 7, 150])
@pytest.mark.parametrize("error", [OUT_OF_MEMORY, CAPTURE_UNSUPPORTED])
def test_training_goes_on_after_a_failed_capture(node: int, error: int) -> None:
    """This torch recovers: the same training ends in slices, and the next one records again."""
    trainer = _trainer()
    words = "out of memory" if error == OUT_OF_MEMORY else "not permitted when stream is capturing"
    with failing_capture(node, error), pytest.warns(UserWarning, match=f"without CUDA graphs.*{words}") as caught:
        trainer.run()
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert trainer.step == trainer.n_steps
    assert trainer._graphed is None
    tiny = tiny_network(TINY_BERT, TINY_PAIR)
    Evaluator(tiny.data.validation, tiny.task, tiny.pad_id, CARD).logits(trainer.network)
    torch.nn.functional.dropout(torch.ones(10, device=CARD), 0.5)  # the generator has left the capture
    with warnings.catch_warnings(), counted() as found:
        warnings.simplefilter("error")
        following = _trainer()
        following.run()
    assert following._graphed is not None
    assert found.replays > 0


def test_evaluation_of_a_full_card_halves_its_batches() -> None:
    tiny = tiny_network(TINY_BERT, TINY_PAIR)
    tiny.network.model.to(CARD)
    network = SuperNetwork(tiny.network.model, "fp32")
    evaluator = Evaluator(tiny.data.validation, tiny.task, tiny.pad_id, CARD)
    evaluator.logits(network)
    n_before = len(evaluator._batches)
    ballast = torch.empty(0, device=CARD)

    def lack(batch: object) -> torch.Tensor:
        if len(batch.index) > 3:  # type: ignore[attr-defined]
            torch.empty(2**50, dtype=torch.uint8, device=CARD)
        return torch.zeros(1, len(batch.index), 2, device=CARD)  # type: ignore[attr-defined]

    with limited_memory(64 << 20):
        assert evaluator._over_batches(lack).shape == (1, len(tiny.data.validation), 2)
    assert len(evaluator._batches) > n_before
    assert np.sort(evaluator._order).tolist() == list(range(len(tiny.data.validation)))
    del ballast


def test_run_on_a_full_card_names_it_and_leaves_nothing(on_card: OnCard, tmp_path: Path) -> None:
    done = on_card("", *RUN, "--device", "cuda", memory_mb=81920, elsewhere_mb=81919)
    assert done.returncode == 2, done.stderr
    assert "Pretended card 9.0 has 0.0 GB of 85.9 GB free; others use 85.9 GB" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("run.json"))


def test_run_with_an_old_driver_goes_to_the_cpu_and_says_so(on_card: OnCard) -> None:
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "from nasbench import devices\n"
        "print(devices.resolve_device('auto'), devices.fallback_notice('auto', 'cpu'))\n"
        "devices.resolve_device('cuda')"
    )
    done = on_card(code, driver=11040)
    assert done.stdout.startswith("cpu running on the CPU although this machine has a GPU: ")
    assert "driver on your system is too old (found version 11040)" in done.stdout
    assert "UserError: --device cuda: this torch sees no GPU (" in done.stderr


@pytest.mark.parametrize(("capability", "precision"), [(75, "fp32"), (80, "bf16"), (90, "bf16")])
def test_default_precision_of_a_card(on_card: OnCard, capability: int, precision: str) -> None:
    code = "import torch; from nasbench.runs.loading import default_precision as p; print(p(torch.device('cuda')))"
    assert on_card(code, capability=capability).stdout.strip() == precision


def test_run_on_a_card_without_kernels_says_so(on_card: OnCard) -> None:
    done = on_card("", *RUN, "--device", "cuda", capability=61)
    assert done.returncode == 2, done.stderr
    assert "has no kernels for Pretended card 6.1 (compute capability 6.1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("method", ["ws-nas", "s-nas", "rfp", "ws-nas-depth", "head-pruning", "layer-dropping"])
def test_run_of_a_method(on_card: OnCard, tmp_path: Path, method: str) -> None:
    """On the second card of two. The record has the card. Fingerprints of weights are garbage, as all values are."""
    settings = ("--set", "epochs=1") if method != "rfp" else ()
    done = on_card(
        "", "run", "--method", method, "--task", "demo", "--model", "demo-bert", "--max-evaluations", "3",
        "--device", "cuda:1", *settings, devices=2,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    (path,) = tmp_path.rglob("run.json")
    record = RunFolder(path.parent).read_run()
    assert record.status == "complete" or "have changed since they were saved" in (record.reason or ""), record.reason
    assert record.provenance["hardware"]["gpu"] == "Pretended card 9.0"
    assert record.provenance["hardware"]["card"]["capability"] == "9.0"
    assert record.n_evaluations == 3 or record.status == "failed"
