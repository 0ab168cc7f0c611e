"""The engine compared with the way published code works, at the size of BERT-base on RTE; see conftest.py.

The same tests compare the logits. All other tests of parity are in tests/training/test_parity.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasbench.data.batching import collate
from nasbench.declarations.model import TrainingConfiguration
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import Precision, SuperNetwork
from nasbench.training.evaluation import Evaluator
from nasbench.training.losses import distillation_loss, label_loss
from nasbench.training.strategies import FINE_TUNING_STEP, Step, TrainingStrategy
from nasbench.training.trainer import Trainer

EVALUATION_BATCH, TRAINING_BATCH = 8, 4
N_MASKED = 2
"""Sub-networks of a sample that the slow way runs, on one batch each; all of them cost it the same."""
SLOW_SAMPLE = f"slow way: {N_MASKED} of them, {EVALUATION_BATCH} examples each"
SAMPLE = "every eighth evaluation batch"
TOLERANCE = {"fp32": 1e-5, "bf16": 2e-2}
FULL = TrainingStrategy("full", n_random=2)
PAPER = TrainingConfiguration(learning_rate=2e-5, batch_size=TRAINING_BATCH, epochs=5)
CPU = torch.device("cpu")


class EveryEighthBatch:
    """Evaluates every eighth of the batches of the 747 validation examples, from short to long.

    Attributes:
        n_examples: number of examples that the batches stand for.
    """

    def __init__(self, workload: Any, repetition: int, dtype: torch.dtype) -> None:
        self.evaluator = Evaluator(workload.validation, workload.task, workload.pad_id, CPU, dtype)
        n = len(self.evaluator._batches)
        batches = self.evaluator._batches[(2, 3, 4)[repetition] :: 8]
        self.n_examples = len(workload.validation) * len(batches) / n
        order = np.concatenate([batch.index for batch in batches])
        self.evaluator._batches, self.evaluator._order = batches, np.argsort(np.argsort(order))


def masked_evaluation(workload: Any, repetition: int) -> None:
    """Evaluate some sub-networks of the sample on one batch each; all sub-networks and all batches cost the same."""
    batch = workload.padded(workload.validation, EVALUATION_BATCH, repetition)
    with torch.inference_mode():
        for config in workload.samples[repetition][:N_MASKED]:
            workload.fp32.masked(batch, workload.space.to_subnetwork(config))


def assert_parity(workload: Any, precision: Precision) -> None:
    index = np.arange(EVALUATION_BATCH)
    split = workload.validation
    with torch.inference_mode():
        for config in workload.samples[0]:
            subnetwork = workload.space.to_subnetwork(config)
            slow = workload.fp32.masked(collate(split, index, workload.pad_id, 128), subnetwork)
            ours = workload.network(precision).forward(collate(split, index, workload.pad_id), subnetwork)
            torch.testing.assert_close(ours, slow, rtol=0, atol=TOLERANCE[precision])


@pytest.mark.parametrize(("precision", "aim"), [("fp32", 8), ("bf16", 20)])
def test_evaluation(comparison: Any, workload: Any, precision: Precision, aim: float) -> None:
    network, n = workload.network(precision), len(workload.samples[0])
    evaluations = [EveryEighthBatch(workload, i, network.dtype) for i in range(3)]
    n_examples = evaluations[0].n_examples

    def ours(repetition: int) -> None:
        for config in workload.samples[repetition]:
            evaluations[repetition].evaluator.logits(network, workload.space.to_subnetwork(config))

    comparison.run(
        ours, lambda i: masked_evaluation(workload, i), units=(n * n_examples, N_MASKED * EVALUATION_BATCH),
        row=f"evaluate uniform SMALL sub-networks, {precision}", aim=aim, unit="an example",
        sample=f"{n} sub-networks, {SAMPLE}; {SLOW_SAMPLE}",
    )  # fmt: skip
    assert_parity(workload, precision)


def test_all_depths(comparison: Any, workload: Any) -> None:
    n, n_layers = 3, workload.fp32.dims.n_layers
    evaluations = [EveryEighthBatch(workload, i, workload.bf16.dtype) for i in range(3)]
    n_examples = evaluations[0].n_examples
    rng = np.random.default_rng(0)
    upper = workload.space.upper
    # Uniform in heads and units, by strata of the units, because they decide the cost. The depth is the full depth.
    samples = [
        [[int(rng.integers(upper[0] + 1)), int((k + rng.random()) * upper[1] / n), n_layers] for k in range(n)]
        for _ in range(3)
    ]

    def ours(repetition: int) -> None:
        for config in samples[repetition]:
            subnetwork = workload.space.to_subnetwork(np.array(config))
            evaluations[repetition].evaluator.logits_of_depths(workload.bf16, subnetwork, n_layers)

    # Without layers, all configurations are one network, so a pass evaluates as many new networks as it has layers.
    comparison.run(
        ours, lambda i: masked_evaluation(workload, i),
        units=(n * n_layers * n_examples, N_MASKED * EVALUATION_BATCH),
        row="distinct SMALL evaluations, all depths of a pass, bf16", aim=100, unit="an example",
        sample=f"{n} passes of {n_layers} sub-networks, {SAMPLE}; {SLOW_SAMPLE}",
    )  # fmt: skip


def masked_optimizer(network: SuperNetwork) -> Any:
    return torch.optim.AdamW(network.parameters(), lr=PAPER.learning_rate, weight_decay=PAPER.weight_decay)


def masked_step(workload: Any, network: SuperNetwork, optimizer: Any, step: Step, seed: int) -> None:
    """One optimizer step as in published code."""
    batch = workload.padded(workload.train, TRAINING_BATCH, seed).to(network.device)
    network.model.train()
    optimizer.zero_grad(set_to_none=False)
    teacher: Any = None
    for one in step.passes:
        logits = network.masked(batch, one.subnetwork)
        loss = label_loss("classification", logits, batch.labels)
        if one.distilled:
            loss = loss + distillation_loss("classification", logits, teacher, FULL.temperature, False)
        else:
            teacher = logits.detach()
        loss.backward()
    optimizer.step()


def random_step(workload: Any) -> Any:
    return lambda step, n_steps, rng: FULL.step(step, n_steps, workload.space, rng)


class Steps:
    """Steps of an epoch, evenly spaced in the length of their batches."""

    def __init__(self, trainer: Trainer, n: int, offset: float) -> None:
        self.trainer = trainer
        trainer.run(1)  # creates Adam's state
        lengths = [trainer._split.lengths[index].max() for index in trainer._order[1]]
        order = np.argsort(lengths, kind="stable")
        self._places = [int(p) for p in order[((np.arange(n) + offset) * len(order) / n).astype(np.int64)]]

    def run(self) -> None:
        places = iter(self._places)
        self.trainer.step = next(places)
        n_left = len(self._places)

        def go_on() -> None:
            nonlocal n_left
            n_left -= 1
            self.trainer.step = next(places) if n_left else self.trainer.n_steps

        self.trainer.run(after_step=go_on)


def trainer(workload: Any, network: SuperNetwork, schedule: Any, seed: int) -> Trainer:
    return Trainer(network, workload.train, "classification", PAPER, schedule, FULL, workload.pad_id, seed)


@pytest.mark.parametrize(("precision", "aim"), [("fp32", 4), ("bf16", 8)])
def test_full_step(comparison: Any, workload: Any, precision: Precision, aim: float) -> None:
    n = 5
    network, masked = workload.network(precision).copy(), workload.fp32.copy()
    training, optimizer = trainer(workload, network, random_step(workload), 0), masked_optimizer(masked)
    steps_of_slow = [random_step(workload)(0, 1, np.random.default_rng(i)) for i in range(4)]
    masked_step(workload, masked, optimizer, steps_of_slow[3], 3)  # creates Adam's state
    steps = [Steps(training, n, offset) for offset in (0.25, 0.5, 0.75)]
    comparison.run(
        lambda i: steps[i].run(), lambda i: masked_step(workload, masked, optimizer, steps_of_slow[i], i), units=(n, 1),
        row=f"a `full` training step, k = 2, {precision}", aim=aim, unit="a step",
        sample=f"{n} steps of an epoch; slow way: 1 step",
    )  # fmt: skip
    training.release()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fine_tuning_of_extracted_networks(comparison: Any, workload: Any, precision: Precision) -> None:
    n_networks, n_steps = 5, 4
    masked = workload.fp32.copy()
    optimizer = masked_optimizer(masked)
    masked_step(workload, masked, optimizer, FINE_TUNING_STEP, 3)
    steps: list[Steps] = []

    def prepare(repetition: int) -> None:
        steps.clear()
        for config in workload.samples[repetition]:
            network = workload.network(precision).extract(workload.space.to_subnetwork(config))
            steps.append(Steps(trainer(workload, network, lambda *_: FINE_TUNING_STEP, repetition), n_steps, 0.5))

    def slow(repetition: int) -> None:
        masked_step(workload, masked, optimizer, FINE_TUNING_STEP, repetition)

    comparison.run(
        lambda _: [one.run() for one in steps], slow, units=(n_networks * n_steps, 1), prepare=prepare,
        row=f"S-NAS: a step of fine-tuning uniform SMALL sub-networks, {precision}", aim=4, unit="a step",
        sample=f"{n_networks} sub-networks, {n_steps} steps of an epoch each; slow way: 1 step",
    )  # fmt: skip


def peak_mb(work: Any, path: Path) -> float:
    """Peak memory of the tensors that the work creates, MB."""
    with torch.profiler.profile(profile_memory=True) as profile:
        work()
    profile.export_chrome_trace(str(path))
    events = [e for e in json.loads(path.read_text())["traceEvents"] if e.get("name") == "[memory]"]
    steps = [e["args"]["Bytes"] for e in sorted(events, key=lambda e: e["ts"])]
    return float(np.cumsum(steps).max()) / 2**20


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_memory_of_a_step(benchmark: Any, workload: Any, tmp_path: Path, precision: Precision) -> None:
    """One step each at the quartiles of batch length."""
    network, masked = workload.network(precision).copy(), workload.fp32.copy()
    training, optimizer = trainer(workload, network, random_step(workload), 0), masked_optimizer(masked)
    step = random_step(workload)(0, 1, np.random.default_rng(0))
    masked_step(workload, masked, optimizer, step, 0)
    slow = peak_mb(lambda: masked_step(workload, masked, optimizer, step, 1), tmp_path / "slow.json")
    steps = [Steps(training, 1, offset) for offset in (0.25, 0.5, 0.75)]
    ours = [peak_mb(step.run, tmp_path / "ours.json") for step in steps]
    benchmark.pedantic(steps[1].run)
    benchmark.extra_info.update(
        row=f"memory of a `full` step beyond weights, gradients and Adam's state, {precision}", aim=2, in_mb=True,
        unit="", sample="the batches at the quartiles of length; slow way: 1 step", ours=ours, slow=[slow] * 3,
        n_threads=torch.get_num_threads(), clock="none",
    )  # fmt: skip


@pytest.mark.parametrize(("arguments", "aim_s"), [(("--help",), 0.5), (("tasks",), 1.0)])
@pytest.mark.usefixtures("workload")
def test_command_line(benchmark: Any, arguments: tuple[str, ...], aim_s: float) -> None:
    """Each command runs in a process of its own and is timed by the wall clock."""
    script = "from nasbench.cli.main import main; main()"
    times = []
    for _ in range(4):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    benchmark.pedantic(lambda: None)
    # The first process reads the files from disk, so it does not count.
    benchmark.extra_info.update(row=f"`nasbench {arguments[0]}`", aim_s=aim_s, seconds=times[1:], sample="a process")


@pytest.fixture
def gpu() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda")


def gpu_seconds(work: Any) -> float:
    """Seconds on the device, from the start of the first kernel to the end of the last."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
    torch.cuda.synchronize()
    events[0].record()
    work()
    events[1].record()
    torch.cuda.synchronize()
    return float(events[0].elapsed_time(events[1])) / 1e3


def note_gpu_row(
    benchmark: Any,
    ours: list[Callable[[], Any]],
    slow: list[Callable[[], Any]],
    units: tuple[float, float],
    **notes: Any,
) -> None:
    """Time both ways in turn. Each repetition has work of its own: work that was done before would find plans made."""
    times = [
        (gpu_seconds(one) / units[0], gpu_seconds(other) / units[1]) for one, other in zip(ours, slow, strict=True)
    ]
    benchmark.pedantic(lambda: None)
    benchmark.extra_info.update(
        notes, ours=[t[0] for t in times], slow=[t[1] for t in times], n_threads=torch.get_num_threads(), clock="events"
    )


@pytest.mark.gpu
def test_evaluation_on_a_gpu(benchmark: Any, workload: Any, gpu: torch.device) -> None:
    """Evaluates all 747 examples. The row also names the share of the speed of a large matrix product."""
    masked = workload.fp32.copy()
    masked.model.to(gpu)
    network = SuperNetwork(masked.model, "bf16")
    evaluator = Evaluator(workload.validation, workload.task, workload.pad_id, gpu)
    samples = [[workload.space.to_subnetwork(config) for config in configs] for configs in workload.samples]
    n_slow = 64
    batches = [
        collate(workload.validation, np.arange(i, i + EVALUATION_BATCH), workload.pad_id, 128).to(gpu)
        for i in range(0, n_slow, EVALUATION_BATCH)
    ]

    def ours(subnetworks: list[SubNetwork]) -> None:
        for subnetwork in subnetworks:
            evaluator.logits(network, subnetwork)

    def slow(subnetworks: list[SubNetwork]) -> None:
        with torch.inference_mode():
            for subnetwork in subnetworks:
                for batch in batches:
                    masked.masked(batch, subnetwork)

    x, full = torch.randn(8192, 8192, device=gpu).bfloat16(), SubNetwork.full(network.dims)
    torch.mm(x, x)
    evaluator.logits(network, full)
    product_rate = 2 * 8192**3 / gpu_seconds(lambda: torch.mm(x, x))
    n_block_params = network.dims.n_params - network.dims.n_fixed_params
    n_flops = 2 * n_block_params * int(workload.validation.lengths.sum())
    share = n_flops / gpu_seconds(lambda: evaluator.logits(network, full)) / product_rate
    slow([full])
    n = len(samples[0])
    note_gpu_row(
        benchmark, [partial(ours, sample) for sample in samples], [partial(slow, sample) for sample in samples],
        units=(n * len(workload.validation), n * n_slow),
        row=f"GPU: evaluate uniform SMALL sub-networks, bf16 ({share:.0%} of a matrix product's rate, full network)",
        aim=30, unit="an example",
        sample=f"{n} new sub-networks each time, 747 examples; slow way: {n_slow} examples",
    )  # fmt: skip


@pytest.mark.gpu
def test_full_step_on_a_gpu(benchmark: Any, workload: Any, gpu: torch.device) -> None:
    masked, stock = workload.fp32.copy(), workload.fp32.copy()
    for network in (masked, stock):
        network.model.to(gpu)
    steps = Steps(trainer(workload, SuperNetwork(stock.model, "bf16"), random_step(workload), 0), 20, 0.5)
    optimizer = masked_optimizer(masked)
    step = random_step(workload)(0, 1, np.random.default_rng(0))

    def slow() -> None:
        for i in range(5):
            masked_step(workload, masked, optimizer, step, i)

    steps.run()  # records
    slow()
    note_gpu_row(
        benchmark, [steps.run] * 3, [slow] * 3,
        units=(20, 5), row="GPU: a `full` training step, k = 2, bf16", aim=4, unit="a step",
        sample="20 steps of an epoch; slow way: 5 steps",
    )  # fmt: skip
