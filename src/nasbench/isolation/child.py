"""The process in which a stranger's method runs: ``python -m nasbench.isolation.child DESCRIPTOR SETTINGS``.

It shuts itself in first, then imports the plugin, then obeys: ``describe`` the method, ``run`` it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sys
from typing import Any

from nasbench.isolation import sandbox


def main(descriptor: int, text: str) -> None:
    """Shut this process in, answer one ``describe`` and carry out one ``run``.

    Args:
        descriptor: of the connection to the parent.
        text: the settings of :func:`nasbench.isolation.sandbox.shut_in`, as JSON.
    """
    settings = json.loads(text)
    held = sandbox.shut_in(settings["readable"], settings["scratch"], settings["memory_bytes"])
    # Only now: these modules start threads, and a process with threads cannot be shut in.
    from nasbench.isolation.protocol import Channel, Ended

    connection = socket.socket(fileno=descriptor)
    channel = Channel(connection, max_bytes=1 << 50)
    os.register_at_fork(after_in_child=connection.close)  # what a method forks does not speak for it
    channel.send({"protections": dataclasses.asdict(held)})
    try:
        method, searcher = _describe(channel)
        channel.send(_run(channel, method, searcher))
    except Ended:
        os._exit(1)


def _describe(channel: Any) -> tuple[Any, Any]:
    """Import method and searcher, and say what they are. Returns ``(class, options)`` of each, None for no searcher."""
    from pathlib import Path

    from nasbench.errors import NasbenchError
    from nasbench.isolation.stand_in import describe
    from nasbench.plugins import registry
    from nasbench.plugins.settings import parse_settings
    from nasbench.runs.request import choose_searcher

    header, _ = channel.receive()
    try:
        plugins = tuple(Path(path) for path in header["plugins"])
        method = registry.find_method(header["method"], plugins)
        searcher = choose_searcher(method, header["searcher"], plugins)
        method_options, searcher_options = parse_settings(method, searcher, header["settings"])
        answer = {
            "method": describe(method, method_options),
            "searcher": None if searcher is None else describe(searcher, searcher_options),
        }
    except NasbenchError as error:
        channel.send({"error": type(error).__name__, "message": str(error)})
        raise SystemExit(1) from None
    channel.send(answer)
    return (method, method_options), None if searcher is None else (searcher, searcher_options)


def _run(channel: Any, method: Any, searcher: Any) -> dict[str, Any]:
    """Run the method on the problem that the parent sends. Returns the last message."""
    import inspect
    from contextlib import suppress

    import numpy as np
    import torch

    from nasbench.errors import BudgetExhausted, CannotResume, MethodError, UserError, WillNotEnd, in_one_line
    from nasbench.isolation.protocol import Ended
    from nasbench.isolation.remote import IsolatedProblem, Parent
    from nasbench.networks.space import make_space
    from nasbench.networks.subnetwork import Dimensions
    from nasbench.objectives.costs import restored_costs
    from nasbench.plugins.method import run_to_end

    header, arrays = channel.receive()
    if header["threads"] is not None:
        torch.set_num_threads(header["threads"])
    parent = Parent(channel)
    parent.is_repeating, parent.n_evaluations = header["repeating"], header["n"]
    space = make_space(header["space"], Dimensions.from_json(header["dims"]))
    problem = IsolatedProblem(header, arrays, space, parent)
    arrays.clear()
    files = []
    for chosen in (method, searcher):
        if chosen is not None:
            with suppress(TypeError, OSError):
                files.append(inspect.getfile(chosen[0]))
    try:
        if searcher is not None:
            problem.searcher = searcher[0](space, np.random.default_rng((problem.seed, 2)), searcher[1])
            problem.searcher.costs = restored_costs(header["costs"], [*header["costs"]])
        subject = method[0](method[1])
        parent.ask("begin")
        run_to_end(subject, problem)
    except (BudgetExhausted, WillNotEnd):  # the parent knows whether and why it has said so
        pass
    except Ended:
        raise
    except CannotResume as error:
        return {"do": "cannot_resume", "reason": str(error)}
    except (MethodError, UserError) as error:
        return {"do": "failed", "reason": str(error)}
    except BaseException as error:  # noqa: BLE001 - a method can raise anything; its record is kept
        return {"do": "failed", "reason": in_one_line(error, files)}
    return {"do": "done"}


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
