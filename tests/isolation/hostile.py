"""Plugins that break the rules, one class each. The tests hand this file to ``isolated`` as a stranger's plugin."""

import contextlib
import ctypes
import glob
import json
import os
import socket
import time
from pathlib import Path

from nasbench import Method
from nasbench.errors import BudgetExhausted
from nasbench.isolation.protocol import _LENGTH
from nasbench.runs import session

CONFIGS = ([4, 48, 3], [2, 24, 1])
IMPORTED_IN = os.getpid()


def evaluate_one(problem):
    network = problem.pretrained()
    return problem.evaluate(network, CONFIGS[0])


class Loops(Method):
    name, summary = "loops", "goes on for ever, and catches what it can"

    def run(self, problem):
        evaluate_one(problem)
        while True:
            with contextlib.suppress(BaseException):
                while True:
                    pass


class Sleeps(Method):
    name, summary = "sleeps", "sleeps past the end, while it says that it is loading"

    def run(self, problem):
        evaluate_one(problem)
        with problem._budget.uncharged("loading"):
            time.sleep(1000)


class Raises(Method):
    name, summary = "raises", "raises an exception of its own, with a terminal escape in it"

    def run(self, problem):
        evaluate_one(problem)

        class Mine(BaseException):
            pass

        raise Mine("\x1b[2J cleared\nand a second line " + "x" * 9999)


class Disguises(Method):
    name, summary = "disguises", "turns the order of letters around, everywhere where it may say something"

    def run(self, problem):
        evaluate_one(problem)
        os.write(1, "\tprinted \u202egnp.exe\n".encode())
        problem._context.observer.notice("notice \u202egnp.exe\ud800")
        problem._context.note("note \u202egnp.exe")
        problem._parent._channel.send({"do": "failed", "reason": "reason \u202egnp.exe"})
        time.sleep(1000)


class Exits(Method):
    name, summary = "exits", "leaves without a word"

    def run(self, problem):
        evaluate_one(problem)
        os._exit(0)


class Crashes(Method):
    name, summary = "crashes", "reads memory that is not there"

    def run(self, problem):
        evaluate_one(problem)
        ctypes.string_at(0)


class Yields(Method):
    name, summary = "yields", "has a yield, so that calling it does nothing"

    def run(self, problem):
        evaluate_one(problem)
        yield


class Forks(Method):
    name, summary = "forks", "leaves a process behind that goes on evaluating"

    def run(self, problem):
        evaluate_one(problem)
        if os.fork() == 0:
            os.setsid()
            ctypes.CDLL(None).prctl(1, 0)  # no end with the parent
            while True:
                with contextlib.suppress(Exception):
                    evaluate_one(problem)
                time.sleep(0.01)
        problem.evaluate(problem.pretrained(), CONFIGS[1])
        time.sleep(0.3)


class Fills(Method):
    name, summary = "fills", "fills the memory, in several processes"

    def run(self, problem):
        evaluate_one(problem)
        with contextlib.suppress(MemoryError):
            self.hoard()
        for _ in range(8):
            if os.fork() == 0:
                with contextlib.suppress(MemoryError):
                    self.hoard()
                time.sleep(1000)
        time.sleep(1000)

    def hoard(self):
        kept = []
        for _ in range(600):
            kept.append(bytearray(os.urandom(1 << 20)))
        kept.append(bytearray(1 << 40))


class Snoops(Method):
    """Tries everything that does not end a process, and says at the end what worked."""

    name, summary = "snoops", "looks for labels, writes into records, calls home, lies about its numbers"

    def run(self, problem):
        won = []
        where = problem._context.folder.path  # .../results/task/model/run
        self.read_disk(where, won)
        self.read_memory(won)
        self.write_records(where, won)
        self.call_home(won)
        self.lie(problem, won)
        raise RuntimeError("won: " + json.dumps(won))

    def read_disk(self, where, won):
        for folder in (where.parents[3], where.parents[3] / "data", where, "/", "/root", "/home", "/tmp"):
            with contextlib.suppress(OSError):
                os.listdir(folder)
                won.append("listed a folder")
        for path in (where.parents[3] / "data" / "test.csv", where / "run.json", "/etc/passwd"):
            with contextlib.suppress(OSError):
                won.append("read " + Path(path).read_text()[:20])

    def read_memory(self, won):
        for path in [*glob.glob("/proc/[0-9]*/mem"), f"/proc/{os.getppid()}/mem"]:
            if path != f"/proc/{os.getpid()}/mem":
                with contextlib.suppress(OSError), open(path, "rb"):
                    won.append(f"opened {path}")
        import gc

        import numpy as np

        # The test split of the tests' task has 32 rows.
        for holder in gc.get_objects():
            for thing in gc.get_referents(holder):
                if type(thing) is np.ndarray and thing.shape == (32,) and thing.dtype == np.int64:
                    won.append(f"found labels {thing[:4].tolist()}")

    def write_records(self, where, won):
        for path in (where / "evaluations.jsonl", where / "run.json", where.parent / "other" / "run.json"):
            for mode in ("a", "w"):
                with contextlib.suppress(OSError), open(path, mode) as file:
                    file.write("{}\n")
                    won.append(f"wrote {path.name}")
        with contextlib.suppress(OSError):
            (where.parent / "mine").mkdir()
            won.append("made a folder of a run")
        for fd in range(3, 64):
            with contextlib.suppress(OSError):
                if "evaluations" in os.readlink(f"/proc/self/fd/{fd}"):
                    won.append("has the record open")
        with contextlib.suppress(OSError):
            if os.getppid() > 0:
                os.kill(os.getppid(), 0)
                won.append("can signal the parent")

    def call_home(self, won):
        port = int(os.environ.get("OMP_TEST_PORT", "9"))
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1)
            won.append("connected")
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"labels", ("127.0.0.1", port))
            won.append("sent a datagram")
        if [name for name in os.environ if "TOKEN" in name or "SECRET" in name]:
            won.append("has a secret")

    def lie(self, problem, won):
        from nasbench.runs.budget import Budget
        from nasbench.training import metrics
        from nasbench.training.evaluation import Evaluator

        metrics.compute = lambda *_, **__: {"accuracy": 1.0, "f1": 1.0}
        Evaluator.metrics = lambda *_: {"accuracy": 1.0, "f1": 1.0}
        Evaluator.logits = lambda *_: 1 / 0
        Budget.elapsed_s = property(lambda _: 0.0)
        time.monotonic = lambda: 0.0
        network = problem.pretrained("honest")
        problem.evaluate(network, CONFIGS[0])
        parent, space = problem._parent, problem.space
        # Another network's weights under a smaller one's configuration: what is recorded is what those weights give.
        other = problem.pretrained("other")
        for parameter in other.parameters():
            parameter.data.mul_(1.1)
        problem.evaluate(other, CONFIGS[1])
        attempts = [
            ("evaluate", {"name": "../../up", "extracted": False, "fresh": False, "config": [1, 1, 1], "epochs": None}),
            ("evaluate", {"name": "honest", "extracted": False, "fresh": True, "config": [1, 1, 1], "epochs": None}),
            ("has_weights", {"name": "../../../data/test"}),
            ("load_weights", {"name": "../model/config", "extracted": False}),
        ]
        for operation, values in attempts:
            if operation == "evaluate":
                parent.ask("enter", phase="isolation", charged=False)
            try:
                answer, _ = parent.ask(operation, **values)
                won.append(f"{operation} gave {answer}")
            except BudgetExhausted:
                raise
            except Exception:
                pass
        try:
            problem.evaluate(network, space.upper + 1)
            won.append("left the space")
        except Exception:
            pass


class Writes(Method):
    name, summary = "writes", "writes a made-up line to the harness"

    def run(self, problem):
        evaluate_one(problem)
        problem._parent._channel.send({"do": "record", "error": 0.0, "params": 0.01})
        problem._parent._channel.receive()


class Swells(Method):
    name, summary = "swells", "sends an array without elements and with a huge shape"

    def run(self, problem):
        evaluate_one(problem)
        text = json.dumps({"do": "check", "arrays": [["float64", [2**39] * 7 + [0]]]}).encode()
        problem._parent._channel._send(memoryview(_LENGTH.pack(len(text)) + text))
        problem._parent._channel.receive()


class Counts(Method):
    name, summary = "counts", "evaluates with more epochs than a float can hold"

    def run(self, problem):
        evaluate_one(problem)
        problem._parent.ask_about("evaluate", problem.pretrained(), config=CONFIGS[1], epochs=10**400)


class Trains(Method):
    name, summary = "trains", "trains with a checkpoint after every step, then evaluates"

    def run(self, problem):
        session.CHECKPOINT_INTERVAL_S = 0.0
        network = problem.pretrained("trained")
        problem.training(network).run()
        problem.evaluate(network, problem.space.largest)


class Hooked(Method):
    name, summary = "hooked", "reports a factored network with a hook"
    spaces = ("ranks",)

    def run(self, problem):
        model = problem.pretrained().extract(problem.space.to_subnetwork(problem.space.midpoint)).model
        problem.evaluate_module(model, problem.space.midpoint, "honest")
        model.bert.register_forward_hook(lambda _module, _inputs, output: output)
        problem.evaluate_module(model, problem.space.midpoint, "hooked")


class Forges(Method):
    name, summary = "forges", "leaves out its own checks and sends factors of larger ranks than it declares"
    spaces = ("ranks",)

    def run(self, problem):
        space = problem.space
        larger = problem.pretrained().extract(space.to_subnetwork(space.midpoint), "larger")
        problem.evaluate_module(larger.model, space.midpoint, "honest")
        problem._rebuilt = lambda *_: larger
        problem.evaluate_module(larger.model, space.midpoint - 1, "larger")
