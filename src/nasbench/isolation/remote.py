"""The child's side of a run: a problem whose clock, record and files are the parent's, behind a channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

import nasbench.errors as errors
from nasbench.isolation import transfer
from nasbench.isolation.protocol import Array, Channel, Header, flatten, restore
from nasbench.networks.space import Config, SearchSpace
from nasbench.networks.supernet import SuperNetwork
from nasbench.records.checkpoints import Checkpoints
from nasbench.records.record import Evaluation, RunFolder
from nasbench.runs.budget import Budget
from nasbench.runs.context import RunContext
from nasbench.runs.harness import Harness
from nasbench.runs.observer import Observer
from nasbench.runs.problem import Problem, method_rng
from nasbench.training.evaluation import Evaluator

RELAYED: dict[str, type[BaseException]] = {
    cls.__name__: cls for cls in (errors.BudgetExhausted, errors.MethodError, ValueError, KeyboardInterrupt)
}
"""Errors that the parent answers with and the child raises."""


class Parent:
    """Asks the parent and waits for its answer.

    Attributes:
        is_repeating: whether the next evaluation is answered from the record of an earlier attempt.
        n_evaluations: number of evaluations of the run so far.
        broken: as in :class:`~nasbench.runs.context.RunContext`.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.broken: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
        self.is_repeating, self.n_evaluations = False, 0
        self._sent: tuple[Any, ...] | None = None

    def ask(self, operation: str, arrays: Sequence[Array] = (), **values: Any) -> tuple[Header, list[Array]]:
        """The parent's answer. Raises the error that the parent answers with."""
        self._channel.send({"do": operation, **values}, arrays)
        answer, found = self._channel.receive()
        if "error" in answer:
            _raise(answer)
        self.is_repeating = answer.get("repeating", self.is_repeating)
        self.n_evaluations = answer.get("n", self.n_evaluations)
        return answer, found

    def tell(self, operation: str, **values: Any) -> None:
        """Tell the parent something that needs no answer."""
        self._channel.send({"do": operation, **values})

    def ask_about(self, operation: str, network: SuperNetwork, **values: Any) -> Header:
        """Ask about a network. Its weights are sent only if they are not those of the last network that was sent."""
        self.ask("enter", phase="isolation", charged=False)
        state = [(id(p), p._version) for p in network.parameters()]
        # A change through ``p.data`` has no version; the fingerprint sees it.
        known = (network.name, network.is_extracted, network.subnetwork.key, network.fingerprint(), state)
        arrays: list[Array] = []
        values |= {"name": network.name, "extracted": network.is_extracted, "fresh": known != self._sent}
        values["broken"] = self.broken.get(network.model)
        if known != self._sent:
            arrays = [*transfer.masks(network), *transfer.weights_of(network)]
        self._sent = None
        answer, _ = self.ask(operation, arrays, **values)
        self._sent = known
        return answer


def _raise(answer: Header) -> NoReturn:
    raise RELAYED[answer["error"]](answer["message"])


class RemoteBudget:
    """Has the interface of a :class:`~nasbench.runs.budget.Budget`. The clock is the parent's."""

    def __init__(self, parent: Parent, seconds: float, device: torch.device) -> None:
        self.seconds = seconds
        self._parent, self._device = parent, device

    @property
    def elapsed_s(self) -> float:
        """Charged seconds so far."""
        return float(self._parent.ask("elapsed")[0]["elapsed_s"])

    @property
    def charged_s(self) -> dict[str, float]:
        """Nothing: the parent adds its own to what it saves."""
        return {}

    def check_caller(self) -> None:
        """Nothing: a process that the method forks has no connection to the parent."""

    def check(self) -> None:
        """Raise :class:`BudgetExhausted` if the budget is spent."""
        self._parent.ask("check")

    def proceed(self) -> None:
        """Charge again, after the repetition of what an earlier attempt was charged for."""
        self._parent.ask("proceed")

    @contextmanager
    def charged(self, phase: str) -> Iterator[None]:
        """Count the time inside towards a phase."""
        with self._entered(phase, charged=True):
            yield

    @contextmanager
    def uncharged(self, phase: str) -> Iterator[None]:
        """Stop the clock inside. The parent grants a limited time."""
        with self._entered(phase, charged=False):
            yield

    @contextmanager
    def _entered(self, phase: str, charged: bool) -> Iterator[None]:
        self._synchronise()
        self._parent.ask("enter", phase=phase, charged=charged)
        try:
            yield
        finally:
            self._synchronise()
            self._parent.tell("leave")

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


class RemoteCheckpoints:
    """Has the interface of :class:`~nasbench.records.checkpoints.Checkpoints`. The files are the parent's."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent

    def has_weights(self, name: str) -> bool:
        """Whether weights are saved under this name."""
        return bool(self._parent.ask("has_weights", name=name)[0]["found"])

    def save_weights(self, network: SuperNetwork) -> None:
        """Save a network's parameters under its name."""
        self._parent.ask_about("save_weights", network)

    def load_weights(self, network: SuperNetwork, name: str) -> None:
        """Overwrite a network's parameters with saved ones."""
        _, arrays = self._parent.ask("load_weights", transfer.masks(network), name=name, extracted=network.is_extracted)
        transfer.load_weights(network, arrays)

    def save_training(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint of the current training."""
        arrays: list[Array] = []
        self._parent.ask(
            "save_training", arrays, name=state["name"], trainer=flatten(state["trainer"], arrays, transfer.to_array)
        )

    def load_training(self) -> dict[str, Any] | None:
        """The checkpoint of the current training, None without one."""
        answer, arrays = self._parent.ask("load_training")
        state: dict[str, Any] | None = restore(answer["state"], arrays, torch.from_numpy)
        return state


class RemoteObserver(Observer):
    """Passes the events of trainings on."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent

    def phase(self, name: str, elapsed_s: float) -> None:  # noqa: ARG002 - the parent knows the time
        self._parent.tell("phase", name=name)

    def training(self, done: int, total: int, elapsed_s: float) -> None:  # noqa: ARG002
        self._parent.tell("training", done=done, total=total)

    def notice(self, text: str) -> None:
        self._parent.tell("notice", text=text)


class _RemoteHarness:
    """Has the parts of a :class:`~nasbench.runs.harness.Harness` that a problem uses besides evaluating."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent

    @property
    def is_repeating(self) -> bool:
        return self._parent.is_repeating

    @property
    def n_evaluations(self) -> int:
        return self._parent.n_evaluations

    def note_duplicate(self) -> None:
        self._parent.ask("duplicate")


class IsolatedProblem(Problem):
    """A problem whose evaluations the parent makes, with networks that it is sent."""

    def __init__(self, header: Header, arrays: Sequence[Array], space: SearchSpace, parent: Parent) -> None:
        device = torch.device(header["device"])
        self.task, self.model = transfer.restore_declarations(header["declarations"])
        self.space = space
        self.train = transfer.restore_split(arrays[:5], header["n_choices"])
        self.validation = transfer.restore_split(arrays[5:10], header["n_choices"])
        stock = transfer.make_network(header["architecture"], arrays[10:], device)
        self.searcher = None
        self.seed, self.pad_id = header["seed"], header["pad_id"]
        self.fine_tuning = self.model.fine_tuning
        self.rng = method_rng(self.seed)
        self._pretrained = stock.copy
        self._parent = parent
        seconds = float("inf") if header["seconds"] is None else header["seconds"]
        shortened: dict[str, int] = dict(header["shortened"])
        self._context = RunContext(
            folder=cast(RunFolder, SimpleNamespace(path=Path(header["folder"]))),
            checkpoints=cast(Checkpoints, RemoteCheckpoints(parent)),
            budget=cast(Budget, RemoteBudget(parent, seconds, device)),
            observer=RemoteObserver(parent),
            test=cast(Evaluator, SimpleNamespace(device=device)),
            limit=None,
            recorded=[],
            note=lambda text: parent.tell("note", text=text, shortened=shortened),
            shortened=shortened,
            broken=parent.broken,
            trained=list(header["trained"]),
        )
        self._budget = self._context.budget
        self._trained = {}
        self._harness = cast(Harness, _RemoteHarness(parent))

    def evaluate(self, network: SuperNetwork, config: Config, epochs: float | None = None) -> Evaluation:
        config = np.asarray(config)
        self._checked(network, config)
        answer = self._parent.ask_about(
            "evaluate", network, config=config.tolist(), epochs=None if epochs is None else float(epochs)
        )
        return Evaluation(**answer["evaluations"][0])

    def evaluate_module(self, module: nn.Module, config: Config, name: str, epochs: float | None = None) -> Evaluation:
        config = np.asarray(config)
        answer = self._parent.ask_about(
            "evaluate_module", self._rebuilt(module, config, name), config=config.tolist(),
            epochs=None if epochs is None else float(epochs),
        )  # fmt: skip
        return Evaluation(**answer["evaluations"][0])

    def evaluate_depths(self, network: SuperNetwork, config: Config) -> list[Evaluation]:
        config = np.asarray(config)
        if self.space.name == "small":  # else the parent says what is wrong
            self._checked(network, config)
        answer = self._parent.ask_about("evaluate_depths", network, config=config.tolist())
        return [Evaluation(**values) for values in answer["evaluations"]]
