"""The parent's side of an isolated run: obeys the child as far as the rules allow.

Every number of the record is made here. The child hands over networks, and this side evaluates them, on its own copy of
the data, with its own clock. What arrives is checked before it is used.
"""

from __future__ import annotations

import dataclasses
import math
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np

from nasbench.errors import BudgetExhausted, CannotResume, MethodError, WillNotEnd
from nasbench.isolation import transfer
from nasbench.isolation.process import START_LIMIT_S, Child, MethodEnded, in_plain_text
from nasbench.isolation.protocol import Array, Ended, Header, ProtocolError, flatten, restore
from nasbench.networks.supernet import SuperNetwork
from nasbench.records.record import Evaluation
from nasbench.runs.budget import CHARGED_PHASES
from nasbench.runs.context import RunContext
from nasbench.runs.problem import LONGEST_NAME, Problem

GRACE_S, GRACE_SHARE = 10.0, 0.02
"""A method that goes on after its budget is ended after so many more seconds, or this share, whichever is longer."""
FREE_S, FREE_SHARE = 10.0, 0.05
"""Seconds, and the share of the charged seconds, that the child may spend on loading and handing over uncharged."""
REPEATING_S, REPEATING_FACTOR = 120.0, 3.0
"""A resumed method must repeat its recorded part in so many seconds, plus this many times those it took first."""
INTERRUPT_S = 60.0
"""Time that an interrupted method has to save its training."""
UNCHARGED_PHASES = ("loading", "recording", "isolation")
MAX_DEPTH = 64
MAX_NOTES = 100
MAX_NETWORKS = 1000
_NAME = re.compile(rf"[\w.-]{{1,{LONGEST_NAME}}}")
_ONE_WAY = ("leave", "phase", "training", "notice", "note")
"""Messages that get no answer."""
_LAST = ("check", "elapsed", "evaluate", "evaluate_module", "evaluate_depths", "duplicate")
"""Messages whose answer ends an interrupted method."""


class Service:
    """Answers the child's messages until the method ends.

    Args:
        problem: the run's own.
        context: the run's own.
        child: the method's process.
    """

    def __init__(self, problem: Problem, context: RunContext, child: Child) -> None:
        self._problem, self._context, self._child = problem, context, child
        self._budget = context.budget
        self._template = problem.pretrained()
        self._network: SuperNetwork | None = None
        self._phases: list[ExitStack] = []
        self._claims: list[bool] = []
        self._free_used_s = 0.0
        self._seen_s = self._budget.now()
        self._started_s = self._seen_s
        self._repeated_since_s: float | None = None
        self._has_begun = False
        self._interrupted_s: float | None = None
        self._has_refused: BaseException | None = None
        self._saved: set[str] = set()
        self._n_notes = 0
        state = self._template.model.state_dict().values()
        n_bytes = sum(value.numel() * value.element_size() for value in state)
        child.channel.max_bytes = 5 * n_bytes + (1 << 24)  # a checkpoint holds weights, moments and word vectors
        child.channel.watch(self._tick)

    def serve(self, start: Header, arrays: list[Array]) -> tuple[str, str]:
        """Start the method and serve it.

        Returns:
            ``done`` or ``failed``, and the reason.

        Raises:
            CannotResume: if the method does not repeat its recorded evaluations.
            NasbenchError: if the suite fails.
            KeyboardInterrupt: after an interrupt, once the training is saved.
        """
        with ExitStack() as running, _deferred_interrupts(self._interrupt):
            try:
                self._child.channel.send(start, arrays)
                while (end := self._step(running)) is None:
                    pass
                return self._verdict(*end)
            except Ended:
                return self._verdict("failed", self._child.end_reason())
            except MethodEnded as error:
                return self._verdict("failed", str(error))
            except ProtocolError as error:
                return self._verdict("failed", f"the method's process broke the protocol: it sent {error}")
            finally:
                while self._phases:
                    self._phases.pop().close()

    def _interrupt(self) -> None:
        """Let the child save its training, and end then. The second interrupt ends the run at once."""
        if self._interrupted_s is not None:
            raise KeyboardInterrupt
        self._interrupted_s = self._budget.now()

    def _verdict(self, status: str, reason: str) -> tuple[str, str]:
        if self._interrupted_s is not None:
            raise KeyboardInterrupt
        if isinstance(self._has_refused, WillNotEnd):
            return "failed", str(self._has_refused)
        return status, reason

    def _step(self, running: ExitStack) -> tuple[str, str] | None:
        """Serve one message. Returns how the method ended, None while it goes on."""
        self._seen_s = self._budget.now()
        header, arrays = self._child.channel.receive()
        self._count_free()
        what = header.get("do")
        if what == "begin":
            if not self._has_begun:
                running.enter_context(self._budget.running())
            self._has_begun = True
            self._answer({})
            return None
        if what in ("done", "failed"):
            return str(what), in_plain_text(header.get("reason", ""))
        if what == "cannot_resume":
            raise CannotResume(in_plain_text(header.get("reason", "")))
        handler: Callable[[Header, list[Array]], Any] | None = getattr(self, f"_do_{what}", None)
        if not isinstance(what, str) or handler is None or not self._has_begun:
            raise ProtocolError(f"an unknown message {in_plain_text(what, 40)!r}")
        if self._interrupted_s is not None and what in _LAST:
            self._answer({"error": "KeyboardInterrupt", "message": ""})
            return None
        try:
            found = handler(header, arrays)
        except KeyboardInterrupt:  # of an observer
            self._interrupt()
            found = None if what in _ONE_WAY else ({"error": "KeyboardInterrupt", "message": ""}, [])
        except (BudgetExhausted, MethodError, ValueError) as error:
            kind = next(cls for cls in (BudgetExhausted, MethodError, ValueError) if isinstance(error, cls))
            found = {"error": kind.__name__, "message": str(error)}, []
        except WillNotEnd as error:
            self._has_refused = error
            raise MethodEnded(str(error)) from None
        except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
            raise ProtocolError(f"a message {what!r} without what it needs ({type(error).__name__})") from error
        if found is not None:
            values, sent = found
            self._answer(values, sent)
        return None

    def _answer(self, values: Header, arrays: list[Array] | None = None) -> None:
        about = {"repeating": self._problem.is_repeating, "n": self._problem.n_evaluations}
        self._child.channel.send({**about, **values}, arrays or [])

    # -- the clock ---------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """While the child is waited for: see that it lives, and that its time is not over."""
        self._child.check()
        self._count_free()
        now = self._budget.now()
        if self._interrupted_s is not None and now - self._interrupted_s > INTERRUPT_S:
            raise MethodEnded("interrupted")
        if not self._has_begun:
            if now - self._started_s > START_LIMIT_S:
                raise MethodEnded(f"the method was not ready after {START_LIMIT_S:g} s")
            return
        if self._budget.is_suspended:
            self._check_repeating(now)
            return
        self._repeated_since_s = None
        seconds = self._budget.seconds
        grace = max(GRACE_S, GRACE_SHARE * seconds) if math.isfinite(seconds) else math.inf
        if self._budget.elapsed_s > seconds + grace:
            raise MethodEnded(
                f"the method went on {self._budget.elapsed_s - seconds:.1f} s after its budget of {seconds:g} s was "
                "spent, and was ended; let BudgetExhausted pass, and call problem.check_budget() in long loops"
            )

    def _check_repeating(self, now: float) -> None:
        if self._repeated_since_s is None:
            self._repeated_since_s = now
        limit = REPEATING_S + REPEATING_FACTOR * self._budget.elapsed_s
        if now - self._repeated_since_s > limit:
            raise MethodEnded(f"the method did not repeat its earlier attempt within {limit:.0f} s")

    def _count_free(self) -> None:
        """Charge the child for uncharged time beyond what it may take. Only waiting for the child counts."""
        now = self._budget.now()
        waited, self._seen_s = now - self._seen_s, now
        if not any(self._claims) or self._budget.is_suspended:
            return
        allowed = FREE_S + FREE_SHARE * self._budget.elapsed_s
        excess = max(0.0, self._free_used_s + waited - allowed)
        self._free_used_s += waited - min(waited, excess)
        if excess:
            self._budget.charge("idle", min(waited, excess))

    def _do_enter(self, header: Header, _: list[Array]) -> tuple[Header, list[Array]]:
        phase, charged = header["phase"], header["charged"] is True
        if phase not in (CHARGED_PHASES if charged else UNCHARGED_PHASES):
            raise ValueError(f"phase is one of {', '.join(CHARGED_PHASES)}, not {in_plain_text(phase, 40)!r}")
        if len(self._phases) >= MAX_DEPTH:
            raise ProtocolError(f"more than {MAX_DEPTH} phases inside each other")
        entered: AbstractContextManager[None] = (
            self._budget.charged(phase) if charged else self._budget.uncharged(phase)
        )
        stack = ExitStack()
        stack.enter_context(entered)
        self._phases.append(stack)
        self._claims.append(not charged)
        return {}, []

    def _do_leave(self, _header: Header, _: list[Array]) -> None:
        self._leave()

    def _leave(self) -> None:
        if not self._phases:
            raise ProtocolError("the end of a phase that had not begun")
        self._claims.pop()
        self._phases.pop().close()

    def _do_elapsed(self, _header: Header, _: list[Array]) -> tuple[Header, list[Array]]:
        return {"elapsed_s": self._budget.elapsed_s}, []

    def _do_check(self, _header: Header, _: list[Array]) -> tuple[Header, list[Array]]:
        self._budget.check()
        return {}, []

    def _do_proceed(self, _header: Header, _: list[Array]) -> tuple[Header, list[Array]]:
        self._budget.proceed()
        return {}, []

    # -- networks ----------------------------------------------------------------------------------------------------

    def _received(self, header: Header, arrays: list[Array]) -> SuperNetwork:
        """The network that a message is about: a new one, or the last under its name."""
        name = self._name(header)
        if header["fresh"] is not True:
            if self._network is None or self._network.name != name:
                raise ProtocolError("a network without its weights")
            return self._network
        self._network = None  # frees the memory of the last one
        network = self._template
        if header["extracted"] is True:
            network = self._extracted(arrays[: transfer.N_MASKS], name)
            arrays = arrays[transfer.N_MASKS :]
        network.name = name
        transfer.load_weights(network, arrays)
        self._network = network
        return network

    def _extracted(self, arrays: list[Array], name: str) -> SuperNetwork:
        try:
            return self._template.extract(transfer.restore_masks(arrays), name)
        except ValueError as error:
            raise MethodError(f"evaluate() got a network or a configuration outside the space: {error}") from error

    @staticmethod
    def _name(header: Header) -> str:
        name = header["name"]
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise MethodError(
                f"a network's name has 1 to {LONGEST_NAME} letters, digits, '.', '_', '-', not "
                f"{in_plain_text(name, LONGEST_NAME + 10)!r}"
            )
        return name

    def _do_evaluate(self, header: Header, arrays: list[Array]) -> tuple[Header, list[Array]]:
        network, config = self._asked(header, arrays)
        return _evaluated([self._problem.evaluate(network, config, _epochs(header))])

    def _do_evaluate_module(self, header: Header, arrays: list[Array]) -> tuple[Header, list[Array]]:
        network, config = self._asked(header, arrays)
        return _evaluated([self._problem.evaluate_module(network.model, config, network.name, _epochs(header))])

    def _do_evaluate_depths(self, header: Header, arrays: list[Array]) -> tuple[Header, list[Array]]:
        return _evaluated(self._problem.evaluate_depths(*self._asked(header, arrays)))

    def _asked(self, header: Header, arrays: list[Array]) -> tuple[SuperNetwork, Any]:
        """The network and the configuration of an evaluation. Ends the time in which the network was handed over."""
        try:
            network = self._received(header, arrays)
        finally:
            self._leave()
        if header["broken"] is not None:  # its training did not fit the memory of the method's process
            self._context.broken[network.model] = in_plain_text(header["broken"])
        config = header["config"]
        if not isinstance(config, list) or not all(type(value) is int and abs(value) < 2**31 for value in config):
            raise MethodError(
                f"evaluate() got a configuration {in_plain_text(config, 80)} that is no vector of integers"
            )
        return network, np.asarray(config, dtype=np.int64)

    def _do_duplicate(self, _header: Header, _: list[Array]) -> tuple[Header, list[Array]]:
        self._problem.note_duplicate()
        return {}, []

    # -- files -------------------------------------------------------------------------------------------------------

    def _do_has_weights(self, header: Header, _: list[Array]) -> tuple[Header, list[Array]]:
        return {"found": self._context.checkpoints.has_weights(self._name(header))}, []

    def _do_save_weights(self, header: Header, arrays: list[Array]) -> tuple[Header, list[Array]]:
        try:
            network = self._received(header, arrays)
            self._saved.add(network.name)
            if len(self._saved) > MAX_NETWORKS:
                raise MethodError(f"more than {MAX_NETWORKS} trained networks; train the same network on")
            self._context.checkpoints.save_weights(network)
            if network.name not in self._context.trained:
                self._context.trained.append(network.name)
        finally:
            self._leave()
        return {}, []

    def _do_load_weights(self, header: Header, arrays: list[Array]) -> tuple[Header, list[Array]]:
        name = self._name(header)
        network = self._extracted(arrays, name) if header["extracted"] is True else self._template.copy(name)
        self._context.checkpoints.load_weights(network, name)
        return {}, transfer.weights_of(network)

    def _do_save_training(self, header: Header, arrays: list[Array]) -> tuple[Header, list[Array]]:
        import torch

        state = restore(header["trainer"], arrays, torch.from_numpy)
        state = {"name": self._name(header), "trainer": state, "charged_s": self._budget.charged_s}
        self._context.checkpoints.save_training({**state, "trained": self._context.trained})
        self._context.sample_speed()
        self._context.observer.saved(self._budget.elapsed_s)
        return {}, []

    def _do_load_training(self, _header: Header, _: list[Array]) -> tuple[Header, list[Array]]:
        arrays: list[Array] = []
        state = self._context.checkpoints.load_training()
        return {"state": flatten(state, arrays, transfer.to_array)}, arrays

    # -- events ------------------------------------------------------------------------------------------------------

    def _do_phase(self, header: Header, _: list[Array]) -> None:
        self._context.observer.phase(in_plain_text(header["name"], 40), self._budget.elapsed_s)

    def _do_training(self, header: Header, _: list[Array]) -> None:
        done, total = header["done"], header["total"]
        if not (type(done) is int and type(total) is int and 0 <= done <= total < 2**40):
            raise ProtocolError("a training step that is not one of its steps")
        self._context.observer.training(done, total, self._budget.elapsed_s)

    def _do_notice(self, header: Header, _: list[Array]) -> None:
        self._n_notes += 1
        if self._n_notes <= MAX_NOTES:
            self._context.observer.notice(in_plain_text(header["text"]))

    def _do_note(self, header: Header, _: list[Array]) -> None:
        self._n_notes += 1
        shortened = header["shortened"]
        if not isinstance(shortened, dict) or len(shortened) > MAX_NETWORKS:
            raise ProtocolError("a note without the shortened trainings")
        for name, n_steps in shortened.items():
            if _NAME.fullmatch(name) and type(n_steps) is int and 0 <= n_steps < 2**40:
                self._context.shortened[name] = n_steps
        if self._n_notes <= MAX_NOTES:
            self._context.note(in_plain_text(header["text"]))


@contextmanager
def _deferred_interrupts(interrupt: Callable[[], None]) -> Iterator[None]:
    """Call a function on Ctrl-C, so that no message is cut in two; and on SIGTERM where that interrupts, too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handled = {number: before for number, before in handled.items() if callable(before)}
    for number in handled:
        signal.signal(number, lambda *_: interrupt())
    try:
        yield
    finally:
        for number, before in handled.items():
            signal.signal(number, before)


def _epochs(header: Header) -> float | None:
    epochs: float | None = header["epochs"]
    if not (epochs is None or (isinstance(epochs, int | float) and math.isfinite(epochs) and epochs >= 0)):
        raise MethodError(f"evaluate() got {in_plain_text(epochs, 40)} epochs")
    return epochs


def _evaluated(evaluations: list[Evaluation]) -> tuple[Header, list[Array]]:
    return {"evaluations": [dataclasses.asdict(evaluation) for evaluation in evaluations]}, []
