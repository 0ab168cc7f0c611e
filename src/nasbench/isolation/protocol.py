"""What parent and child say to each other: JSON headers, each followed by raw arrays. Nothing is unpickled.

A message is the length of its header in four bytes, the header, and the arrays' bytes. The header lists types and
shapes under ``arrays``. All sizes are bounded before memory is taken.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Header = dict[str, Any]
Array = npt.NDArray[Any]

_LENGTH = struct.Struct(">I")
TICK_S = 0.2
"""Seconds between two looks at the clock while nothing arrives."""
MAX_HEADER_BYTES = 1 << 24
MAX_ARRAYS = 1 << 16
_TYPES = ("bool", "uint8", "int32", "int64", "float32", "float64")
_CHUNK = 1 << 24


class ProtocolError(Exception):
    """The other side sent something that is no message."""


class Ended(Exception):
    """The other side has closed the connection."""


class Channel:
    """One end of the connection.

    Args:
        connection: a connected socket.
        max_bytes: limit of the arrays of one message that arrives.
        tick: called every :data:`TICK_S` while the other side is waited for; may raise.
    """

    def __init__(self, connection: socket.socket, max_bytes: int, tick: Callable[[], None] | None = None) -> None:
        self.max_bytes, self._tick = max_bytes, tick
        self._connection = connection
        connection.settimeout(None if tick is None else TICK_S)

    def watch(self, tick: Callable[[], None]) -> None:
        """Call this function from now on while the other side is waited for."""
        self._tick = tick
        self._connection.settimeout(TICK_S)

    def close(self) -> None:
        """Close this end."""
        self._connection.close()

    def send(self, header: Mapping[str, Any], arrays: Sequence[Array] = ()) -> None:
        """Send a message.

        Raises:
            Ended: if the other side is gone.
        """
        arrays = [np.ascontiguousarray(array) for array in arrays]
        listed = [[array.dtype.name, list(array.shape)] for array in arrays]
        text = json.dumps({**header, "arrays": listed}, allow_nan=False).encode()
        self._send(memoryview(_LENGTH.pack(len(text)) + text))
        for array in arrays:
            if array.size:
                self._send(_bytes_of(array))

    def receive(self) -> tuple[Header, list[Array]]:
        """The next message.

        Raises:
            Ended: if the other side is gone.
            ProtocolError: if it is no message, or larger than allowed.
        """
        length = bytearray(_LENGTH.size)
        self._fill(memoryview(length))
        n_bytes = _LENGTH.unpack(length)[0]
        if n_bytes > MAX_HEADER_BYTES:
            raise ProtocolError(f"a header of {n_bytes:,} bytes")
        text = bytearray(n_bytes)
        self._fill(memoryview(text))
        try:
            header = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"a header that is not JSON ({type(error).__name__})") from error
        if not isinstance(header, dict):
            raise ProtocolError("a header that is not an object")
        listed = self._listed(header.pop("arrays", None))
        try:
            arrays = [np.empty(shape, dtype) for dtype, shape in listed]
        except (ValueError, MemoryError) as error:  # without elements, a shape may be larger than numpy can have
            raise ProtocolError(f"an array that cannot be made ({type(error).__name__})") from error
        for array in arrays:
            if array.size:
                self._fill(_bytes_of(array))
        return header, arrays

    def _listed(self, listed: Any) -> list[tuple[str, list[int]]]:
        if not isinstance(listed, list) or len(listed) > MAX_ARRAYS:
            raise ProtocolError("a header without a list of arrays")
        n_bytes = 0
        for item in listed:
            if not (isinstance(item, list) and len(item) == 2 and item[0] in _TYPES and _is_shape(item[1])):
                raise ProtocolError("an array of unknown type or shape")
            n_bytes += np.dtype(item[0]).itemsize * math.prod(item[1])
        if n_bytes > self.max_bytes:
            raise ProtocolError(f"arrays of {n_bytes:,} bytes, more than {self.max_bytes:,}")
        return [(dtype, shape) for dtype, shape in listed]

    def _fill(self, target: memoryview) -> None:
        done = 0
        while done < len(target):
            try:
                n = self._connection.recv_into(target[done : done + _CHUNK])
            except TimeoutError:
                assert self._tick is not None
                self._tick()
                continue
            except OSError as error:
                raise Ended from error
            if n == 0:
                raise Ended
            done += n

    def _send(self, source: memoryview) -> None:
        done = 0
        while done < len(source):
            try:
                done += self._connection.send(source[done : done + _CHUNK])
            except TimeoutError:
                assert self._tick is not None
                self._tick()
            except OSError as error:
                raise Ended from error


def _bytes_of(array: Array) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8).data)


def _is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, list) and len(shape) <= 8 and all(type(size) is int and 0 <= size < 2**40 for size in shape)
    )


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def flatten(value: Any, arrays: list[Array], to_array: Callable[[Any], Array | None] = lambda _: None) -> Any:
    """A nested value as JSON, with its arrays aside. It holds numbers, texts, lists, tuples and dictionaries.

    Args:
        arrays: the arrays found are appended here.
        to_array: makes an array of a tensor; None for anything else.

    Raises:
        TypeError: for a value of another type.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return {"v": value}
    array = value if isinstance(value, np.ndarray) else to_array(value)
    if array is not None:
        arrays.append(array)
        return {"a": len(arrays) - 1}
    if isinstance(value, dict):
        return {"d": [[flatten(key, arrays, to_array), flatten(item, arrays, to_array)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"t" if isinstance(value, tuple) else "l": [flatten(item, arrays, to_array) for item in value]}
    raise TypeError(f"a message cannot hold a {type(value).__name__}")


def restore(node: Any, arrays: Sequence[Array], from_array: Callable[[Array], Any] = lambda array: array) -> Any:
    """The inverse of :func:`flatten`.

    Raises:
        ProtocolError: if the value was not made by :func:`flatten`.
    """
    try:
        ((kind, value),) = node.items()
        if kind == "v" and (value is None or isinstance(value, bool | int | float | str)):
            return value
        if kind == "a":
            return from_array(arrays[value])
        if kind == "d":
            return {restore(key, arrays, from_array): restore(item, arrays, from_array) for key, item in value}
        if kind in ("l", "t"):
            items = [restore(item, arrays, from_array) for item in value]
            return items if kind == "l" else tuple(items)
    except (AttributeError, ValueError, TypeError, IndexError, RecursionError) as error:
        raise ProtocolError(f"a value that cannot be read ({type(error).__name__})") from error
    raise ProtocolError(f"a value of kind {str(kind)[:20]!r}")
