"""Rebuild a module from its declared structure and its tensors, and refuse it if it is not what is declared.

What a module says of itself is not trusted: not its number of parameters, not its ``forward``. The rebuilt network has
the suite's own modules and copies of the tensors, and nothing else of the module is ever run. So what is refused here
could not change a result. It is refused because whoever reports it measures something else than is recorded.
"""

from __future__ import annotations

from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork

_TENSORS = ("_parameters", "_buffers")
_MOST_MODULES = 20_000


def rebuilt(full: SuperNetwork, structure: SubNetwork, module: nn.Module, name: str) -> SuperNetwork:
    """A network of the given structure with copies of a module's tensors.

    Args:
        full: the full network; its values do not matter.
        structure: what the module is declared to be.
        module: has the modules, parameters and buffers of ``full.extract(structure).model``, and nothing else.
        name: name of the result.

    Raises:
        ValueError: one line, if the module is something else, or if the structure does not fit the full network.
        UserError: if the architecture has no projections that can be factored.
    """
    network = full.extract(structure, name)
    check_module(module, network.model)
    given = _tensors(module)
    with torch.no_grad():
        for place, tensor in _tensors(network.model).items():
            tensor.copy_(given[place])
    network.refresh()
    return network


def check_module(module: nn.Module, declared: nn.Module) -> None:
    """Check that a module is built as another one: the same classes, attributes and tensors, without hooks.

    Raises:
        ValueError: one line that names the place.
    """
    found, wanted = _modules(module), _modules(declared)
    for place in [*wanted, *found]:
        if place not in found or place not in wanted:
            raise ValueError(f"a module {'without' if place in wanted else 'with'} {place or 'itself'!r}")
        _check_part(place, found[place], wanted[place])
    tensors, due = _tensors(module), _tensors(declared)
    for place in [*due, *tensors]:
        if place not in tensors or place not in due:
            raise ValueError(f"a module {'without' if place in due else 'with'} the tensor {place!r}")
        _check_tensor(place, tensors[place], due[place])
    _check_memory(tensors, due)


def _check_part(place: str, found: nn.Module, wanted: nn.Module) -> None:
    """Compare one module, without its children and tensors."""
    what = f"{place!r}" if place else "a module"
    if type(found) is not type(wanted):
        raise ValueError(f"{what} of class {_class(found)} where {_class(wanted)} is due")
    own, due = vars(found), vars(wanted)
    for name in [*due, *own]:
        if name not in own or name not in due:
            raise ValueError(f"{what} {'without' if name in due else 'with'} an attribute {name!r}")
        if "hook" in name and own[name] and not due[name]:
            raise ValueError(f"{what} with a hook ({name.strip('_')}); remove it")
        if not _is_same_function(own[name], due[name]):
            raise ValueError(f"{what} with another {name!r}")


def _is_same_function(found: Any, wanted: Any) -> bool:
    """Whether two values are the same function, or callable objects of one class; True if neither can be called."""
    if not callable(found) and not callable(wanted):
        return True
    found, wanted = getattr(found, "__func__", found), getattr(wanted, "__func__", wanted)  # of bound methods
    if isinstance(wanted, type | FunctionType | BuiltinFunctionType):
        return found is wanted
    return type(found) is type(wanted)


def _check_tensor(place: str, found: Tensor, wanted: Tensor) -> None:
    if type(found) is not type(wanted) or found.layout != wanted.layout or found.is_meta:
        raise ValueError(f"{place!r} that is no plain {type(wanted).__name__} with values")
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        due = f"{str(wanted.dtype).removeprefix('torch.')} {tuple(wanted.shape)}"
        raise ValueError(
            f"{place!r} of {str(found.dtype).removeprefix('torch.')} {tuple(found.shape)} where {due} is due"
        )
    if _n_held(found) not in (found.numel(), _n_held(wanted)):
        raise ValueError(
            f"{place!r} of {found.numel():,} numbers in memory that holds {_n_held(found):,}; give a copy (clone)"
        )


def _n_held(tensor: Tensor) -> int:
    """Numbers that a tensor's memory holds: more than its own if it is a part, fewer if it repeats some."""
    return tensor.untyped_storage().nbytes() // tensor.element_size()


def _check_memory(tensors: dict[str, Tensor], due: dict[str, Tensor]) -> None:
    """Check that tensors share memory where they are declared to be one tensor, and nowhere else."""
    owners: dict[int, str] = {}
    first: dict[int, str] = {}
    for place, tensor in tensors.items():
        tied_to = first.setdefault(id(due[place]), place)
        if tensor is not tensors[tied_to]:
            raise ValueError(f"{place!r} that is not tied to {tied_to!r}")
        owner = owners.setdefault(tensor.untyped_storage().data_ptr(), tied_to) if tensor.numel() else tied_to
        if owner != tied_to:
            raise ValueError(f"{place!r} that shares its memory with {owner!r}; give each a copy")


def _modules(module: nn.Module) -> dict[str, nn.Module]:
    """All modules by place, also those that occur twice. A module cannot answer for itself."""
    found: dict[str, nn.Module] = {}
    waiting: list[tuple[str, Any]] = [("", module)]
    while waiting:
        place, part = waiting.pop()
        if not isinstance(part, nn.Module):
            raise ValueError(f"{place or 'a'} {type(part).__name__}, which is no module")
        if len(found) > _MOST_MODULES:
            raise ValueError(f"a module of more than {_MOST_MODULES:,} modules")
        found[place] = part
        children = reversed(vars(part)["_modules"].items())
        waiting += [(f"{place}.{name}" if place else name, child) for name, child in children if child is not None]
    return found


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by place, those of each module in the order of their names."""
    return {
        f"{place}.{name}" if place else name: tensor
        for place, part in _modules(module).items()
        for kind in _TENSORS
        for name, tensor in sorted(vars(part)[kind].items())
        if tensor is not None
    }


def _class(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
