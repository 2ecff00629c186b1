"""Nested plain values in one ``.npz`` file: arrays and JSON, so that loading runs no code."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.errors import first_line


def pack(value: Any) -> bytes:
    """Pack nested dicts, lists, tuples, numbers, strings, arrays and tensors into a ``.npz``."""
    arrays: dict[str, NDArray[Any]] = {}

    def encode(node: Any) -> Any:
        if isinstance(node, Mapping):
            return {"dict": [[encode(key), encode(inner)] for key, inner in node.items()]}
        if isinstance(node, list | tuple):
            return {type(node).__name__: [encode(inner) for inner in node]}
        name = f"a{len(arrays)}"
        if hasattr(node, "detach"):
            arrays[name] = node.detach().cpu().numpy()
            return {"tensor": name}
        if isinstance(node, np.ndarray | np.generic):
            arrays[name] = np.asarray(node)
            return {"array" if isinstance(node, np.ndarray) else "number": name}
        return node

    arrays["json"] = np.array(json.dumps(encode(value)))
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpack(content: bytes) -> Any:
    """Unpack what :func:`pack` returned.

    Raises:
        ValueError: if the content is damaged or was not made by :func:`pack`.
    """
    try:
        _check_members(content)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return _decode(json.loads(str(_array(arrays, "json"))), arrays)
    except zipfile.BadZipFile as error:
        raise ValueError(f"it is not a whole .npz archive ({first_line(error)})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"its JSON cannot be read ({first_line(error)})") from error
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(first_line(error)) from error


def unpack_parts(content: bytes, names: Sequence[str], optional: Sequence[str] = ()) -> list[Any]:
    """Unpack a dict and return its values of these names; None for an optional name it lacks.

    Raises:
        ValueError: as :func:`unpack`, or if it is not a dict or lacks a name.
    """
    return take(unpack(content), names, optional)


def take(parts: Any, names: Sequence[str], optional: Sequence[str] = ()) -> list[Any]:
    """The values of these names in a dict; None for an optional name it lacks.

    Raises:
        ValueError: if it is not a dict or lacks a name.
    """
    parts = check_mapping(parts, "it")
    for name in names:
        if name not in parts:
            raise ValueError(f"it has no {name!r}")
    return [parts.get(name) for name in (*names, *optional)]


def check_mapping(value: Any, what: str) -> Mapping[str, Any]:
    """Return the value; raise ValueError if it is not a mapping."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is not a mapping")
    return value


def _check_members(content: bytes) -> None:
    """Raise ValueError if a checksum is wrong or the archive unpacks to more than its own size."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(member.file_size for member in archive.infolist()) > len(content):
            raise ValueError("its members are larger than the file")
        if name := archive.testzip():
            raise ValueError(f"the checksum of its member {name!r} is wrong")


def _array(arrays: Mapping[str, Any], name: Any) -> NDArray[Any]:
    if name not in arrays:
        raise ValueError(f"it has no member {name!r}")
    array = arrays[name]
    if not isinstance(array, np.ndarray):  # np.load returns other members as bytes
        raise ValueError(f"its member {name!r} is not an array")
    return array


def _decode(node: Any, arrays: Mapping[str, Any]) -> Any:
    if not isinstance(node, dict):
        return node
    if len(node) != 1:
        raise ValueError("a node of its JSON does not have exactly one kind")
    ((kind, inner),) = node.items()
    match kind:
        case "dict":
            return {_decode(key, arrays): _decode(item, arrays) for key, item in inner}
        case "list":
            return [_decode(item, arrays) for item in inner]
        case "tuple":
            return tuple(_decode(item, arrays) for item in inner)
        case "array":
            return _array(arrays, inner)
        case "number":
            return _array(arrays, inner)[()]
        case "tensor":
            import torch

            return torch.from_numpy(_array(arrays, inner))
    raise ValueError(f"its JSON has a node of the unknown kind {kind!r}")
