"""nasbench: structural pruning of pre-trained language models by multi-objective neural architecture search."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(folder: Path | str) -> nn.Module:
    """A pruned network that ``nasbench export`` saved: a stock transformers module in eval mode.

    Raises:
        UserError: one line, if the folder holds no exported network or a damaged one.
    """
    from nasbench.runs import export

    return export.load(folder)
