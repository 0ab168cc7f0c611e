"""Energy of passes, by a stand-in for NVML whose counter advances by known joules."""

import sys
from types import SimpleNamespace

import pytest
import torch

from nasbench.errors import UserError
from nasbench.objectives import energy
from nasbench.objectives.energy import EnergyCounter, EnergyMeasurer, EnergyPair

GPU = torch.device("cuda")
STEP_S = 0.1


class NVMLError(Exception):
    pass


class Card:
    """A card with a clock. Its counter shows the joules of its work, every :data:`STEP_S` anew."""

    def __init__(self):
        self.now, self.joules, self.shown, self.is_stuck, self.uuid = 0.0, 0.0, 0.0, False, None

    def work(self, seconds, watts):
        step = int(self.now / STEP_S)
        self.now += seconds
        self.joules += seconds * watts
        if int(self.now / STEP_S) > step and not self.is_stuck:
            self.shown = self.joules

    def handle(self, uuid):
        self.uuid = uuid
        return self

    def millijoules(self, card):
        assert card is self
        return int(1000 * self.shown)


class Works(torch.nn.Module):
    """Stands for a network: a pass takes fixed seconds and watts."""

    def __init__(self, card, seconds, watts):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.card, self.seconds, self.watts = card, seconds, watts
        self.config = SimpleNamespace(pad_token_id=0, vocab_size=50)

    def forward(self, **_):
        self.card.work(self.seconds, self.watts)


@pytest.fixture
def nvml(monkeypatch):
    """The stand-in for pynvml, with its card as ``card``."""
    card = Card()
    module = SimpleNamespace(
        NVMLError=NVMLError, nvmlInit=lambda: None, nvmlDeviceGetHandleByUUID=card.handle,
        nvmlDeviceGetTotalEnergyConsumption=card.millijoules, card=card, name="Card 100",
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(name=module.name, uuid="12-34"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    return module


@pytest.mark.parametrize("own", [(0.001, 150), (0.0313, 290), (0.7, 310)])
def test_energy_of_a_pass_is_what_the_counter_has_advanced_by(nvml, own):
    card, whole = nvml.card, (0.0042, 300)
    pair = EnergyPair(Works(card, *whole), Works(card, *own), EnergyCounter(GPU), clock=lambda: card.now)
    assert card.uuid == "GPU-12-34"
    for _ in range(4):
        card.work(0.037, 60)  # the card idles, and the next measurement begins between two steps
        wanted = own[0] * own[1] / (whole[0] * whole[1])
        assert pair.ratio((2, 8)) == pytest.approx(wanted, rel=0.05)


def test_a_counter_that_stands_still_is_told(nvml):
    nvml.card.is_stuck = True
    networks = [Works(nvml.card, 0.01, 100)] * 2
    with pytest.raises(UserError, match="stands still"):
        EnergyPair(*networks, EnergyCounter(GPU), clock=lambda: nvml.card.now).ratio((2, 8))
    assert energy.STUCK_S < nvml.card.now < energy.STUCK_S + 1


def test_energy_is_refused_on_a_cpu_in_one_line():
    with pytest.raises(UserError, match="needs a GPU: a CPU has no counter") as refused:
        EnergyMeasurer.check(torch.device("cpu"))
    assert "\n" not in str(refused.value)


def test_what_is_missing_on_a_gpu_is_told_in_one_line_with_the_remedy(nvml, monkeypatch):
    EnergyMeasurer.check(GPU)

    def no_counter(_):
        raise NVMLError("Not Supported\n")

    nvml.name = "Card 100 MIG 1g.10gb"
    with pytest.raises(UserError, match=r"a whole card, not Card 100 MIG 1g\.10gb"):
        EnergyMeasurer.check(GPU)
    nvml.name, nvml.nvmlDeviceGetTotalEnergyConsumption = "Card 50", no_counter
    with pytest.raises(UserError, match=r"no counter of energy of Card 50 \(Not Supported.*--device cuda:N") as refused:
        EnergyMeasurer.check(GPU)
    assert "\n" not in str(refused.value)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(UserError, match=r"pip install 'nasbench-plm\[energy\]'"):
        EnergyMeasurer.check(GPU)
