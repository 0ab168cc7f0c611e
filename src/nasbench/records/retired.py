"""Options that a method once had and that were dropped, because what they did was measured and did not pay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasbench.records.record import Identity

RETIRED: Mapping[str, Mapping[str, Any]] = {"ws-nas-ordered": {"repair": False}}
"""By method: the options, each with the value that does what the method does without the option."""


def present_options(identity: Identity) -> dict[str, Any]:
    """The options of a run, as a record of the present version has them.

    A retired option is left out if it has the value that stayed. With another value it is kept, because the run did
    something that the method no longer does.
    """
    stayed = RETIRED.get(identity.method, {})
    options = dict(identity.options)
    own = options.get("method")
    if isinstance(own, dict):
        options["method"] = {name: value for name, value in own.items() if name not in stayed or value != stayed[name]}
    return options
