"""`make gpu-check`: the first ten minutes on a GPU, as a report to paste into an issue.

Each line says what it expects and what it saw. Times are expected from estimates and are never a failure: they are what
a card is needed for. Needs nothing but the source tree and what the tests need: networks have random weights.

    python tests/benchmarks/gpu_check.py [--device cuda:1] [--tiny] [--only NAME,...] [--out FILE]

`--tiny` takes small networks and few repetitions; with `--device cpu` it tries the checks themselves without a GPU.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from benchmarks.conftest import bert
from benchmarks.gpu_setting import TABLE, Line, Setting, as_text
from torch.nn.attention import SDPBackend, sdpa_kernel

import nasbench
from nasbench import devices
from nasbench.errors import UserError, in_one_line
from nasbench.networks.passes.variable_length import fused_attention
from nasbench.networks.space import make_space
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins import registry
from nasbench.records.record import RunFolder
from nasbench.runs.loading import avoid_plans, default_precision
from nasbench.training.evaluation import Evaluator

ROOT = Path(__file__).parents[2]
RTE = registry.tasks()["rte"]
PLAN_FACTOR = 3.0
"""A fresh sub-network that takes so many times as long as the same again pays for something planned for its shape."""

BACKENDS = {
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "plain": SDPBackend.MATH,
}


def device(setting: Setting) -> Iterator[Line]:
    """What runs here, and what the suite chooses for it."""
    yield Line(
        "nasbench, Python, torch", "-", f"{nasbench.__version__}, {platform.python_version()}, {torch.__version__}"
    )
    if setting.device.type != "cuda":
        yield Line("device", "a GPU", str(setting.device), None)
        return
    card = devices.describe_card(setting.device)
    yield Line("GPU", "compute capability 7.5 or newer", torch.cuda.get_device_name(setting.device))
    yield Line("card", "-", ", ".join(f"{name} {value}" for name, value in card.items()))
    yield Line("memory", "most of it free", devices.describe_memory(setting.device))
    modern = torch.cuda.get_device_capability(setting.device) >= (8, 0)
    precision = default_precision(setting.device)
    yield Line("default precision", "bf16 from compute capability 8.0", precision, (precision == "bf16") == modern)
    has_fused = fused_attention(setting.device, torch.bfloat16) is not None
    yield Line("fused attention without padding", "yes from 8.0 and torch 2.10", "yes" if has_fused else "no")
    yield Line("cuDNN's attention", "off", "on" if torch.backends.cuda.cudnn_sdp_enabled() else "off",
               not torch.backends.cuda.cudnn_sdp_enabled())  # fmt: skip


def _pytest(*arguments: str) -> tuple[str, bool]:
    """Last line of a run of pytest, and whether something ran and nothing failed."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    said = [line for line in done.stdout.splitlines() if line.strip()] or ["nothing"]
    failed = [line for line in said if line.startswith("FAILED")]
    return "; ".join([*failed[:5], said[-1].strip("= ")]), done.returncode == 0 and " passed" in said[-1]


def numerics(setting: Setting) -> Iterator[Line]:
    """The tests marked `gpu`: gradients of recordings against slices, dropout, and logits against the CPU."""
    if setting.device.type == "cuda" and not setting.is_tiny:
        yield Line("tests marked gpu", "all pass", *_pytest("-m", "gpu", "tests/training", "tests/networks"))
    small = SuperNetwork(bert(128, 3).model)
    on_cpu = Evaluator(setting.splits[1], RTE, 0, torch.device("cpu")).logits(small)
    small.model.to(setting.device)
    there = Evaluator(setting.splits[1], RTE, 0, setting.device).logits(SuperNetwork(small.model))
    difference = float(np.abs(there - on_cpu).max())
    yield Line("logits in fp32 against the CPU's", "differ by 1e-3 at most", f"{difference:.1e}", difference <= 1e-3)


def evaluations(setting: Setting) -> Iterator[Line]:
    """Fresh sub-networks, the same again, and with other attention."""
    network = setting.network()
    evaluator = Evaluator(setting.splits[1], RTE, 0, setting.device)
    evaluator.logits(network)
    for name, estimate in (("small", "6 to 7 ms on an H100"), ("large", "under 15 ms on an H100")):
        space, rng = make_space(name, network.dims), np.random.default_rng(1)
        chosen = [space.to_subnetwork(space.sample(rng)) for _ in range(setting.n_evaluations)]
        fresh = [setting.seconds(lambda one=one: evaluator.logits(network, one)) for one in chosen]
        again = [setting.seconds(lambda one=one: evaluator.logits(network, one)) for one in chosen]
        yield Line(f"{name}: {len(chosen)} fresh sub-networks", f"about {estimate} (estimate)", _spread(fresh))
        factor = statistics.median(f / a for f, a in zip(fresh, again, strict=True))
        is_free_of_plans = None if setting.is_tiny else factor < PLAN_FACTOR
        yield Line(f"{name}: the same again", f"fresh ones take less than {PLAN_FACTOR:g} times as long",
                   f"{_spread(again)}; {factor:.1f} times", is_free_of_plans)  # fmt: skip
    expected = evaluator.logits(network)
    for name, backend in BACKENDS.items():
        other = Evaluator(setting.splits[1], RTE, 0, setting.device)
        other._fuses = False  # attention alone is padded
        try:
            with sdpa_kernel(backend):
                found = other.logits(network)
                taken = [setting.seconds(lambda e=other: e.logits(network)) for _ in range(3)]
        except RuntimeError as error:
            yield Line(f"full network, {name} attention", "runs, or is refused", f"refused: {in_one_line(error)[:120]}")
            continue
        difference = float(np.abs(found - expected).max())
        yield Line(f"full network, {name} attention", "logits differ by 0.05 at most",
                   f"{_spread(taken)}; {difference:.1e}", difference <= 0.05)  # fmt: skip


def _spread(seconds: list[float]) -> str:
    ms = [1e3 * each for each in seconds]
    return f"{statistics.median(ms):.2f} ms ({min(ms):.2f} to {max(ms):.2f})"


def steps(setting: Setting) -> Iterator[Line]:
    """`full` steps: all passes in one recording, one pass in each recording, and slices."""
    for name in ("small", "large"):
        for kind, estimate in (("one recording", "about 6 ms"), ("a pass each", "20 ms"), ("slices", "21 ms")):
            trainer = setting.trainer(setting.network(), name)
            if kind == "slices":
                trainer._graphed = None
            elif trainer._graphed is None:
                yield Line(f"{name}: {kind}", "only on a GPU", "left out")
                continue
            elif kind == "a pass each":
                trainer._graphed.n_at_once = 1
            trainer.run(min(trainer.steps_per_epoch, setting.n_steps))  # every length is recorded
            n = setting.n_steps
            taken = setting.seconds(lambda t=trainer, n=n: t.run(t.step + n)) / n
            kept = kind == "slices" or trainer._graphed is not None
            yield Line(f"{name}: {n} steps, {kind}", f"{estimate} on an H100 (estimate); recordings are kept",
                       f"{1e3 * taken:.2f} ms a step; {'kept' if kept else 'LOST'}", kept)  # fmt: skip
            trainer.release()


def memory(setting: Setting) -> Iterator[Line]:
    """What a training leaves on the card when it is released."""
    network = setting.network()
    before = setting.used_mb()
    trainer = setting.trainer(network)
    trainer.run(setting.n_steps // 2)
    during = setting.used_mb()
    trainer.release()
    del trainer
    after = setting.used_mb()
    yield Line("memory after a training", "within 64 MB of before",
               f"{before:.0f} MB before, {during:.0f} during, {after:.0f} after", after - before < 64)  # fmt: skip


def rows(setting: Setting) -> Iterator[Line]:
    """The rows of BENCHMARKS.md for a GPU."""
    if setting.device.type != "cuda" or setting.is_tiny:
        yield Line("rows of BENCHMARKS.md", "only on a GPU", "left out")
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        said = _pytest(
            "tests/benchmarks", "-m", "gpu", "--benchmark-enable", "--benchmark-only", f"--benchmark-json={file}"
        )
        yield Line("rows of BENCHMARKS.md", "all run", *said)
        import json

        for each in json.loads(file.read_text())["benchmarks"] if file.exists() else []:
            info = each["extra_info"]
            ours, slow = statistics.median(info["ours"]), statistics.median(info["slow"])
            yield Line(
                info["row"], f"{info['aim']} times as fast {info['unit']}", f"{slow / ours:.1f} times, {ours:.2e} s"
            )


def repeatability(setting: Setting) -> Iterator[Line]:
    """The same training twice, and with a pause from which it resumes."""
    n = min(setting.n_steps, 40)
    weights = []
    for stops in ((n,), (n,), (n // 2, n)):
        trainer = setting.trainer(setting.network())
        for stop in stops:
            if trainer.step:
                state, trainer = trainer.state(), setting.trainer(setting.network())
                trainer.restore(state)
            trainer.run(stop)
        weights.append(torch.cat([p.detach().float().flatten() for p in trainer.network.parameters()]).cpu())
        trainer.release()
    for what, other in (("twice", weights[1]), ("resumed", weights[2])):
        difference = float((other - weights[0]).abs().max())
        expected = "the same weights up to 1e-4"
        yield Line(f"a training of {n} steps, {what}", expected, f"differ by {difference:.1e}", difference <= 1e-4)


def profile(setting: Setting) -> Iterator[Line]:
    """Where the time of a step goes."""
    from torch.profiler import ProfilerActivity

    trainer = setting.trainer(setting.network())
    trainer.run(min(trainer.steps_per_epoch, setting.n_steps))
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if setting.device.type == "cuda" else [])]
    n = 3 if setting.is_tiny else 10
    with torch.profiler.profile(activities=activities) as found:
        trainer.run(trainer.step + n)
        setting.wait()
    kernels = [e for e in found.key_averages() if str(e.device_type).endswith("CUDA")]
    n_kernels = sum(e.count for e in kernels) / n
    if kernels:
        yield Line("kernels in a step", "750 at most", f"{n_kernels:.0f}", n_kernels <= 750)
    total = sum(e.self_device_time_total for e in kernels) / n / 1e3
    yield Line("the device's own time in a step", "near the time of a step", f"{total:.2f} ms")
    for event in sorted(kernels, key=lambda e: -e.self_device_time_total)[:8]:
        yield Line(
            f"`{re.sub('[|`<].*', '', event.key)[:70]}`", "-", f"{event.self_device_time_total / n / 1e3:.3f} ms a step"
        )


def runs(setting: Setting) -> Iterator[Line]:
    """Five short runs of the demo."""
    limit = ("--budget", "3" if setting.is_tiny else "20")
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1 if setting.is_tiny else 5):
            done = _nasbench(folder, "--seed", str(seed), "--device", str(setting.device), *limit)
            found = sorted(Path(folder).rglob(f"*seed{seed}*/run.json"))
            if not found:
                yield Line(f"demo, seed {seed}", "complete", done.stderr.strip()[-200:], False)
                continue
            run_folder = RunFolder(found[0].parent)
            record, lines = run_folder.read_run(), run_folder.read_evaluations()
            errors = [each.error for each in lines if each.error is not None]
            seen = (
                f"{record.status}, {len(lines)} evaluations, lowest error {min(errors, default=1.0):.3f}, "
                + ", ".join(
                    f"{name} {seconds:.1f} s" for name, seconds in {**record.charged_s, **record.uncharged_s}.items()
                )
            )
            yield Line(f"demo, seed {seed}", "complete, at least one evaluation", seen,
                       record.status == "complete" and bool(lines))  # fmt: skip


def _nasbench(folder: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = ["run", "--method", "ws-nas", "--task", "demo", "--model", "demo-bert", "--results", folder, *arguments]
    return subprocess.run(
        [sys.executable, "-m", "nasbench", *words], capture_output=True, text=True, env=_environment()
    )


def _environment() -> dict[str, str]:
    """The sources, wherever the command runs."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / ".dev"), os.environ.get("PYTHONPATH", "")])}


def full_card(setting: Setting) -> Iterator[Line]:
    """A run that finds the card full."""
    if setting.device.type != "cuda":
        yield Line("a run on a full card", "only on a GPU", "left out")
        return
    setting.used_mb()
    ballast = []
    size = torch.cuda.mem_get_info(setting.device)[0]
    while size > 2**20:
        try:
            ballast.append(torch.empty(size, dtype=torch.uint8, device=setting.device))
        except torch.OutOfMemoryError:
            size //= 2
    with tempfile.TemporaryDirectory() as folder:
        done = _nasbench(folder, "--device", str(setting.device), "--max-evaluations", "1")
    ballast.clear()
    setting.used_mb()
    said = done.stderr.strip().splitlines() or [""]
    is_clear = done.returncode == 2 and "Traceback" not in done.stderr and "free; others use" in said[-1]
    yield Line(
        "a run on a full card", "one line with its memory, exit code 2", f"{done.returncode}: {said[-1]}", is_clear
    )


CHECKS = (device, numerics, evaluations, steps, memory, repeatability, profile, runs, full_card, rows)


def lines_of(check: Callable[[Setting], Iterator[Line]], setting: Setting) -> Iterator[Line]:
    """The lines of a check. An error is a line, so that the others still run."""
    try:
        yield from check(setting)
    except Exception as error:  # noqa: BLE001 - whatever a new card does belongs into the report
        yield Line(check.__name__.replace("_", " "), "no error", in_one_line(error)[:300], False)
    setting.used_mb()


def main(arguments: list[str] | None = None) -> int:
    names = [check.__name__.replace("_", "-") for check in CHECKS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", default=",".join(names), help=",".join(names))
    parser.add_argument("--out", type=Path, default=Path("gpu-check.md"))
    options = parser.parse_args(arguments)
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(names):
        parser.error(f"no check {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    try:
        name = devices.resolve_device(options.device)
    except UserError as error:
        print(f"gpu-check: {error}", file=sys.stderr)  # noqa: T201
        return 2
    setting = Setting(torch.device(name), options.tiny)
    avoid_plans(setting.device)
    n_different = 0
    with options.out.open("w", encoding="utf-8") as report:

        def say(text: str) -> None:
            print(text, flush=True)  # noqa: T201
            report.write(text + "\n")
            report.flush()

        for check, check_name in zip(CHECKS, names, strict=True):
            if check_name not in chosen:
                continue
            say(f"\n### {check_name.replace('-', ' ')}\n\n{check.__doc__}\n\n{TABLE}")
            started = time.perf_counter()
            for line in lines_of(check, setting):
                n_different += line.is_as_expected is False
                say(as_text(line))
            say(f"\n{time.perf_counter() - started:.0f} s")
        say(f"\n{n_different} lines differ from what is expected.")
    print(f"\nThis report is in {options.out}; please paste it into an issue.")  # noqa: T201
    return 1 if n_different else 0


if __name__ == "__main__":
    sys.exit(main())
