"""For tests of methods and searchers: tiny models and tasks, analytic search problems, and the contracts to pass.

May import: every other package of the engine except ``cli``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasbench.testing.architecture_contract import ArchitectureContract
    from nasbench.testing.contract import MethodContract
    from nasbench.testing.searcher_contract import SearcherContract

__all__ = ["ArchitectureContract", "MethodContract", "SearcherContract"]


def __getattr__(name: str) -> Any:
    # The contracts import torch, which a tiny task's declaration does not need.
    if name == "ArchitectureContract":
        from nasbench.testing import architecture_contract

        return architecture_contract.ArchitectureContract
    if name == "MethodContract":
        from nasbench.testing import contract

        return contract.MethodContract
    if name == "SearcherContract":
        from nasbench.testing import searcher_contract

        return searcher_contract.SearcherContract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
