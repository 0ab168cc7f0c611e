"""Linear maps and norms on weights that a pass has prepared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Linear:
    """``y = x W^T + b``, or without b."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True)
class Norm:
    """A LayerNorm on prepared parameters. An RMSNorm computes in fp32 on its own (``weight`` is None)."""

    norm: Any
    weight: Tensor | None
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        if self.weight is None:
            return cast(Tensor, self.norm(x)).to(x.dtype)
        return functional.layer_norm(x, self.norm.normalized_shape, self.weight, self.bias, self.norm.eps)
