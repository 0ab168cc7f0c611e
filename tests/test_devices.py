"""The choice of a device and what is said about a GPU, on a machine whose GPU is pretended by patching torch."""

from __future__ import annotations

import os
import subprocess
import warnings
from pathlib import Path

import pytest
import torch

from nasbench import devices
from nasbench.errors import UserError

GPU = torch.device("cuda", 0)


class Card:
    """What torch says about a pretended card with 80 GB, of which 10 GB are free and this process holds 1 GB."""

    name = "NVIDIA A100-SXM4-80GB MIG 2g.20gb"
    major, minor, total_memory = 8, 0, 80 * 10**9
    uuid = "11111111-2222"


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> type[Card]:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Card)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: Card.name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (Card.major, Card.minor))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * 10**9, 80 * 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 10**9)
    monkeypatch.setattr(torch, "ones", lambda n, device: torch.zeros(n) + 1)  # noqa: ARG005 - as on a card
    return Card


@pytest.fixture
def has_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The files of NVIDIA's driver for one card; torch cannot use it."""
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    monkeypatch.setattr(devices, "_CARDS", tmp_path / "gpus")
    monkeypatch.setattr(devices, "_AMD", tmp_path / "none")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def _pretend_smi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *lines: str) -> None:
    script = tmp_path / "nvidia-smi"
    script.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("has_card")
def test_auto_that_takes_the_cpu_of_a_machine_with_a_card_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    assert devices.resolve_device("auto") == "cpu"
    notice = devices.fallback_notice("auto", "cpu")
    assert notice is not None
    assert notice.startswith("running on the CPU although this machine has a GPU: torch 2.")
    assert notice.endswith("is a build for CPUs; install a build for CUDA")
    assert "\n" not in notice
    assert devices.fallback_notice("cpu", "cpu") is None
    assert devices.fallback_notice("auto", "cuda") is None
    with pytest.raises(UserError, match=r"sees no GPU \(torch .* is a build for CPUs; .*\); use --device cpu"):
        devices.resolve_device("cuda")


@pytest.mark.usefixtures("has_card")
@pytest.mark.parametrize("hidden", ["", "-1", " -1,0"])
def test_a_hidden_card_is_named_as_hidden(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert devices.why_no_gpu() == f"CUDA_VISIBLE_DEVICES is {hidden!r}, which hides it"


@pytest.mark.usefixtures("has_card")
def test_the_words_of_torch_about_an_old_driver_come_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "The NVIDIA driver on your system is too old (found version 11040)."

    def is_available() -> bool:
        warnings.warn(said, stacklevel=1)
        return False

    def init() -> None:
        raise RuntimeError(f"{said}\nPlease update it")

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(torch.cuda, "init", init)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch's warning itself is not shown
        notice = devices.fallback_notice("auto", devices.resolve_device("auto"))
    assert notice == f"running on the CPU although this machine has a GPU: {said}"


def test_a_machine_without_a_card_gets_no_notice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices, "_CARDS", tmp_path / "none")
    monkeypatch.setattr(devices, "_AMD", tmp_path / "none")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.fallback_notice("auto", "cpu") is None


def test_cards_of_amd_are_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # as builds for ROCm say
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(devices, "_CARDS", tmp_path / "none")
    assert devices.resolve_device("auto") == "cpu"
    assert "does not run on GPUs of AMD" in str(devices.fallback_notice("auto", "cpu"))
    with pytest.raises(UserError, match="does not run on GPUs of AMD"):
        devices.resolve_device("cuda")


def test_cards_of_apple_are_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices, "_AMD", tmp_path / "none")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert "does not run on GPUs of Apple" in str(devices.fallback_notice("auto", devices.resolve_device("auto")))
    with pytest.raises(UserError, match="of all GPUs, nasbench runs on NVIDIA's only"):
        devices.resolve_device("mps")


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error: out of memory")]
)
def test_a_full_card_is_one_line_with_its_other_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    _pretend_smi(monkeypatch, tmp_path, "4242, 60000", f"{os.getpid()}, 954", "4343, [N/A]")
    with pytest.raises(UserError) as caught, devices.loading(GPU):
        raise error
    assert str(caught.value) == (
        "NVIDIA A100-SXM4-80GB MIG 2g.20gb has 10.0 GB of 80.0 GB free; others use 69.0 GB by process 4242 (62.9 GB), "
        "this process 1.0 GB. The network and the data do not fit; free memory, choose another GPU with --device "
        "cuda:NUMBER, or use --device cpu"
    )


@pytest.mark.usefixtures("card")
def test_a_card_that_cannot_be_asked_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "mem_get_info", refuse)
    monkeypatch.setenv("PATH", "")  # nor is there nvidia-smi
    assert "has 0.0 GB of 80.0 GB free; others use 79.0 GB, this process 1.0 GB" in devices.describe_memory(GPU)


@pytest.mark.usefixtures("card")
def test_a_card_without_kernels_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore lines")

    monkeypatch.setattr(torch, "ones", refuse)
    words = r"has no kernels for NVIDIA A100.* \(compute capability 8.0, "
    with pytest.raises(UserError, match=words) as caught, devices.loading(GPU):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("card")
def test_other_errors_of_loading_pass() -> None:
    with pytest.raises(RuntimeError, match="a bug"), devices.loading(GPU):
        raise RuntimeError("a bug")
    with pytest.raises(torch.OutOfMemoryError), devices.loading(torch.device("cpu")):
        raise torch.OutOfMemoryError("not about a card")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n", "535.183.01"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n", "580.65.06"),
    ],
)
def test_description_of_a_card(
    card: type[Card], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, version: str
) -> None:
    (tmp_path / "version").write_text(text)
    monkeypatch.setattr(devices, "_DRIVER", tmp_path / "version")
    found = devices.describe_card(GPU)
    assert found == {
        "capability": "8.0",
        "memory_bytes": card.total_memory,
        "mig": "2g.20gb",
        "driver": version,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
    monkeypatch.setattr(card, "name", "Tesla T4")
    assert devices.describe_card(GPU)["mig"] is None


@pytest.mark.usefixtures("card")
def test_driver_is_asked_of_nvidia_smi_where_its_file_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(devices, "_DRIVER", tmp_path / "none")
    _pretend_smi(monkeypatch, tmp_path, "550.54.15")
    assert devices.describe_card(GPU)["driver"] == "550.54.15"
    monkeypatch.setenv("PATH", "")
    assert devices.describe_card(GPU)["driver"] is None


def test_an_nvidia_smi_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _pretend_smi(monkeypatch, tmp_path, "550.54.15")

    def hang(*_: object, timeout: float, **__: object) -> None:
        assert timeout == devices._QUERY_S
        raise subprocess.TimeoutExpired("nvidia-smi", timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert devices._smi("--query-gpu=driver_version") == []
