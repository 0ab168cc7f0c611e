"""Access to the Hugging Face hub without progress bars, and without long retries if the hub cannot be reached."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from nasbench.errors import first_line

_PROBE_TIMEOUT_S = 4.0


def hub_errors() -> tuple[type[Exception], ...]:
    """The errors that the Hugging Face libraries and their HTTP clients raise if files are not available."""
    clients = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
    return (OSError, ValueError, RuntimeError, *(client.HTTPError for client in clients))


def reason(error: Exception) -> str:
    """The reason why files are not available, in one line."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error, (ConnectionError, LocalEntryNotFoundError)):
        return "the hub cannot be reached, and its cache has no copy"
    return first_line(error)


def hub_caches() -> list[Path]:
    """The folders in which the Hugging Face libraries keep what they have loaded."""
    from huggingface_hub import constants

    data_sets = os.environ.get("HF_DATASETS_CACHE")  # importing datasets, which reads it, takes a second
    return [Path(constants.HF_HOME), Path(constants.HF_HUB_CACHE), *([Path(data_sets)] if data_sets else [])]


@contextmanager
def hub_session() -> Iterator[None]:
    """A scope for downloads without progress bars, and without a minute of retries on a machine without a network.

    The scope honours ``HF_HUB_OFFLINE``. If the hub does not accept a connection, the scope sets the same offline mode:
    the libraries then use cached files or fail at once. The end of the scope restores all settings.
    """
    from huggingface_hub import constants

    settings: list[Any] = [constants]
    if "datasets" in sys.modules:  # datasets keeps its own copy of the setting
        settings.append(sys.modules["datasets"].config)
    before = [module.HF_HUB_OFFLINE for module in settings]
    with quiet():
        try:
            if not constants.HF_HUB_OFFLINE and not _reachable(constants.ENDPOINT):
                for module in settings:
                    module.HF_HUB_OFFLINE = True
            yield
        finally:
            for module, value in zip(settings, before, strict=True):
                module.HF_HUB_OFFLINE = value


@contextmanager
def quiet() -> Iterator[None]:
    """A scope in which the Hugging Face libraries print no progress bars, load reports or retry warnings."""
    import huggingface_hub.utils
    import transformers

    hub: Any = huggingface_hub.utils
    log: Any = transformers.utils.logging
    hub_bars, bars, verbosity = not hub.are_progress_bars_disabled(), log.is_progress_bar_enabled(), log.get_verbosity()
    notes = [logging.getLogger(name) for name in ("huggingface_hub", "datasets")]
    levels = [logger.level for logger in notes]
    try:
        hub.disable_progress_bars()
        log.disable_progress_bar()
        log.set_verbosity_error()
        for logger in notes:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(notes, levels, strict=True):
            logger.setLevel(level)
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
        if hub_bars:
            hub.enable_progress_bars()


def _reachable(endpoint: str) -> bool:
    """Whether the hub accepts a connection. Behind a proxy this returns True: only the libraries can find out."""
    if getproxies() or os.environ.get("HF_ENDPOINT"):
        return True
    url = urlsplit(endpoint)
    try:
        socket.create_connection((url.hostname or "", url.port or 443), timeout=_PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True
