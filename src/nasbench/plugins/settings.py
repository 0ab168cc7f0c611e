"""The texts of ``--set`` for a method and its searcher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nasbench.errors import UserError
from nasbench.plugins import options
from nasbench.plugins.method import Method
from nasbench.search.searcher import MultiFidelitySearcher, Searcher

SEARCHER_PREFIX = "searcher."


def parse_settings(method: type[Method], searcher: type[Searcher] | None, settings: Sequence[str]) -> tuple[Any, Any]:
    """The options of a method and of its searcher, None for no searcher.

    Args:
        settings: texts ``key=value``, ``searcher.key=value``.

    Raises:
        UserError: for an option that does not exist, or a text that does not fit it.
    """
    method_texts, searcher_texts = split_settings(settings)
    if searcher_texts and searcher is None:
        option = SEARCHER_PREFIX + next(iter(searcher_texts))
        raise UserError(f"method {method.name!r} uses no searcher; leave out --set {option}")
    if "epochs" in method_texts and searcher is not None and issubclass(searcher, MultiFidelitySearcher):
        raise UserError(f"searcher {searcher.name!r} sets the number of epochs; leave out --set epochs")
    method_options = options.parse(method.Options, method_texts, f"method {method.name!r}")
    if searcher is None:
        return method_options, None
    return method_options, options.parse(searcher.Options, searcher_texts, f"searcher {searcher.name!r}")


def split_settings(settings: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The texts for the method and those for the searcher, each by option name."""
    found: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise UserError(f"--set takes key=value, not {setting!r}")
        if key in found:
            raise UserError(f"--set {key} is given twice: {found[key]!r} and {value!r}")
        found[key] = value
    for_searcher = {key: value for key, value in found.items() if key.startswith(SEARCHER_PREFIX)}
    for_method = {key: value for key, value in found.items() if key not in for_searcher}
    return for_method, {key.removeprefix(SEARCHER_PREFIX): value for key, value in for_searcher.items()}
