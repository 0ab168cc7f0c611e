"""The file ``quantization.json`` of a run: what ``nasbench quantize`` has measured, by device."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from nasbench.records import schema
from nasbench.records.record import read_if_there, write_atomically

FILE = "quantization.json"


@dataclass(frozen=True)
class Ratio:
    """A ratio to the time of the full network in fp32: a median and its 95 % interval."""

    ratio: schema.Number
    low: schema.Number
    high: schema.Number
    __pydantic_config__: ClassVar = schema.STRICT


@dataclass(frozen=True)
class Variant:
    """A network in one number format.

    Attributes:
        scheme: a name of :data:`nasbench.export.quantization.SCHEMES`.
        error, test_error: validation and test error; None if the variant does not run.
        n_bytes: bytes of all its tensors; None likewise.
        latency: beside the full network in fp32; None likewise.
        reason: why it does not run on this device; None if it does.
    """

    scheme: schema.Name
    error: schema.Error | None = None
    test_error: schema.Error | None = None
    n_bytes: schema.Count | None = None
    latency: Ratio | None = None
    reason: schema.Text | None = None
    __pydantic_config__: ClassVar = schema.STRICT


@dataclass(frozen=True)
class QuantizedNetwork:
    """A network of the run in all number formats.

    Attributes:
        index: its evaluation.
        is_full: whether it is the unpruned network.
        params: fraction of the full network's parameters.
    """

    index: schema.Count
    is_full: bool
    params: schema.Fraction
    variants: list[Variant]
    __pydantic_config__: ClassVar = schema.STRICT


@dataclass(frozen=True)
class OnDevice:
    """What was measured on one device.

    Attributes:
        device: hardware and number of threads, as in the provenance of a record.
        packages: versions by name.
        shapes: batch sizes and numbers of tokens of the timed inputs.
    """

    device: schema.Values
    packages: schema.Values
    shapes: list[schema.Counts]
    networks: list[QuantizedNetwork]
    __pydantic_config__: ClassVar = schema.STRICT


@dataclass(frozen=True)
class Quantization:
    """The contents of the file."""

    devices: list[OnDevice] = field(default_factory=list)
    schema_version: schema.Version = schema.SCHEMA_VERSION
    __pydantic_config__: ClassVar = schema.STRICT

    def with_device(self, found: OnDevice) -> Quantization:
        """With the values of one device in place of earlier ones of the same device."""
        others = [each for each in self.devices if each.device != found.device]
        return dataclasses.replace(self, devices=[*others, found])

    def n_networks(self, device: schema.Values) -> int:
        """Number of networks that were measured on a device."""
        return sum(len(each.networks) for each in self.devices if each.device == device)


def read_quantization(folder: Path) -> Quantization:
    """What is recorded beside a run; nothing without a file.

    Raises:
        RecordError: one line, if the file cannot be read or holds something else.
    """
    data = read_if_there(folder / FILE)
    return Quantization() if data is None else schema.parse(Quantization, data, str(folder / FILE))


def write_quantization(folder: Path, found: Quantization) -> None:
    """Write the file.

    Raises:
        NasbenchError: if it cannot be written.
    """
    write_atomically(folder / FILE, schema.json_bytes(dataclasses.asdict(found)))
