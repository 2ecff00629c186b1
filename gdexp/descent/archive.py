"""Nested plain values in one ``.npz`` file: arrays and JSON, so that loading runs no code."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.errors import brief, excerpt, first_line

DEEPEST = 40  # levels of nesting; a configuration has up to 30
_KINDS = "biufcU"  # of the dtypes: numbers and text
_TOO_DEEP = "its JSON is nested too deeply"


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

    Nothing in the content is larger than the content itself, so neither is what it unpacks to.

    Raises:
        ValueError: if the content is damaged or was not made by :func:`pack`.
    """
    try:
        arrays = _arrays(content)
        if "json" not in arrays:
            raise ValueError("it has no member 'json'")
        return _decode(json.loads(str(arrays.pop("json"))), arrays)
    except zipfile.BadZipFile as error:
        raise ValueError(f"it is not a whole .npz archive ({brief(error)})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"its JSON cannot be read ({first_line(error)})") from error
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(brief(error)) from error


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


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays in an archive, by name.

    Raises:
        ValueError: if a checksum is wrong, a member is not a plain array, or the archive unpacks to
            more than its own size.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > len(content):
            raise ValueError("its members are larger than the file")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("its members are compressed")
        if len({member.filename for member in members}) < len(members):
            raise ValueError("two of its members have the same name")
        return {
            m.filename.removesuffix(".npy"): _array(m.filename, archive.read(m)) for m in members
        }


def _array(name: str, content: bytes) -> NDArray[Any]:
    """The array in a member, whose header must describe exactly the bytes that follow."""
    file = io.BytesIO(content)
    if not content.startswith(np.lib.format.MAGIC_PREFIX + b"\x01\x00"):
        raise ValueError(f"its member {excerpt(name)} is not an array")
    np.lib.format.read_magic(file)
    shape, is_transposed, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind not in _KINDS or dtype.itemsize == 0:
        raise ValueError(f"its member {excerpt(name)} holds neither numbers nor text")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"its member {excerpt(name)} does not have the size it states")
    flat = np.frombuffer(content, dtype, offset=file.tell()).copy()
    return flat.reshape(shape, order="F" if is_transposed else "C")


def _decode(node: Any, arrays: dict[str, NDArray[Any]], depth: int = 1) -> Any:
    """The value of a node; takes its arrays out of ``arrays``, so that none is used twice."""
    if not isinstance(node, dict):
        return node
    if depth > DEEPEST:
        raise ValueError(_TOO_DEEP)
    if len(node) != 1:
        raise ValueError("a node of its JSON does not have exactly one kind")
    ((kind, inner),) = node.items()
    match kind:
        case "dict":
            return {
                _decode(key, arrays, depth + 1): _decode(item, arrays, depth + 1)
                for key, item in inner
            }
        case "list":
            return [_decode(item, arrays, depth + 1) for item in inner]
        case "tuple":
            return tuple(_decode(item, arrays, depth + 1) for item in inner)
    if kind not in ("array", "number", "tensor"):
        raise ValueError(f"its JSON has a node of the unknown kind {excerpt(kind)}")
    if inner not in arrays:
        raise ValueError(f"it has no member {excerpt(inner)}")
    array = arrays.pop(inner)
    if kind == "tensor":
        import torch

        return torch.from_numpy(array)
    return array if kind == "array" else array[()]
