"""What a run chooses for a device, checked without one: torch's answers are pretended."""

from contextlib import contextmanager

import pytest
import torch

from nasbench.errors import first_error
from nasbench.runs.loading import avoid_plans, default_precision
from nasbench.training import cuda_graphs
from nasbench.training.trainer import Trainer

GPU = torch.device("cuda", 0)


@pytest.fixture
def cards(monkeypatch):
    """A machine with cards of compute capability 9, 8 and 7. The first is torch's current one."""
    current = [0]

    @contextmanager
    def device(chosen):
        before, current[0] = current[0], chosen.index or 0
        yield
        current[0] = before

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[0])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: type("Properties", (), {"major": 9 - i})())
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda _: True, raising=False)  # it emulates


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(("index", "precision"), [(0, "bf16"), (1, "bf16"), (2, "fp32")])
def test_precision_is_bf16_only_where_the_chosen_card_multiplies_it(index, precision):
    assert default_precision(torch.device("cuda", index)) == precision


@pytest.mark.parametrize(
    ("capability", "multiplies", "precision"),
    [
        ("AVX512", True, "bf16"),
        ("AVX512_VNNI", True, "bf16"),
        ("AVX512", False, "fp32"),
        ("AVX2", True, "fp32"),
        ("DEFAULT", False, "fp32"),
    ],
)
def test_precision_of_a_cpu_is_bf16_only_where_it_multiplies_it(monkeypatch, capability, multiplies, precision):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: multiplies)
    assert default_precision(torch.device("cpu")) == precision


def test_cudnn_attention_is_off_on_a_gpu_only():
    before = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        torch.backends.cuda.enable_cudnn_sdp(True)
        avoid_plans(torch.device("cpu"))
        assert torch.backends.cuda.cudnn_sdp_enabled()
        avoid_plans(GPU)
        assert not torch.backends.cuda.cudnn_sdp_enabled()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


def test_warm_ups_of_a_device_share_a_stream(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: object())
    cuda_graphs._side_stream.cache_clear()
    try:
        assert cuda_graphs._side_stream(GPU) is cuda_graphs._side_stream(GPU)
        assert cuda_graphs._side_stream(GPU) is not cuda_graphs._side_stream(torch.device("cuda", 1))
    finally:
        cuda_graphs._side_stream.cache_clear()


class _FailingPasses:
    def record(self, _batch, _step):
        try:
            raise RuntimeError("out of memory")
        finally:
            raise RuntimeError("capture was invalidated")


def test_a_failed_recording_names_the_first_error():
    with pytest.warns(UserWarning, match="more slowly: out of memory"):
        assert not Trainer._can_record(_FailingPasses(), None, None)


def test_an_error_handled_outside_is_not_the_cause():
    try:
        raise ValueError("outside")
    except ValueError:
        with pytest.warns(UserWarning, match="more slowly: out of memory"):
            assert not Trainer._can_record(_FailingPasses(), None, None)


def test_first_error_of_a_single_error_is_itself():
    error = RuntimeError("alone")
    assert first_error(error) is error
