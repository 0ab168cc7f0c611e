"""Counts of the operations that would each launch at least one kernel on a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

ALLOCATIONS = {"aten.empty", "aten.empty_like", "aten.empty_strided", "aten.new_empty", "aten.detach"}


class _Launches(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        if not is_view and str(func.overloadpacket) not in ALLOCATIONS:
            self.counts[str(func.overloadpacket)] += 1
        return func(*args, **(kwargs or {}))


def launches(work: Callable[[], object]) -> Counter[str]:
    """How often ``work`` calls each operation that is neither a view nor an allocation."""
    with _Launches() as counted:
        work()
    return counted.counts
