"""Open a text file whatever its compression and encoding, and skip lines of comments."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from gdexp.errors import ConfigError, brief

BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
COMPRESSED = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile)
NO_TEXT = {
    b"PAR1": "a Parquet file. Type data=parquet.",
    b"ARROW1": "an Arrow file. Save it as Parquet, or as CSV.",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard. Decompress it.",
    b"\xd0\xcf\x11\xe0": "an Excel workbook. Save it as CSV.",
}


class WithoutComments:
    """A text file in which lines that begin with a sign are blank, so that lines keep their number.

    Args:
        text: the file.
        sign: the sign.
    """

    def __init__(self, text: IO[str], sign: str) -> None:
        self._text = text
        self._sign = sign

    def __iter__(self) -> Iterator[str]:
        return map(self._blank, self._text)

    def read(self, size: int = -1) -> str:
        """The next lines, of about ``size`` characters."""
        return "".join(map(self._blank, self._text.readlines(size)))

    def seek(self, position: int) -> None:
        """Go to a position; the start is 0."""
        self._text.seek(position)

    def _blank(self, line: str) -> str:
        return "\n" if line.lstrip().startswith(self._sign) else line


@contextmanager
def open_text(path: Path, encoding: str | None, comment: str | None) -> Iterator[tuple[Any, str]]:
    """Open a text file, compressed or not.

    Args:
        path: the file; what it holds, not its name, tells whether it is compressed.
        encoding: its encoding; None for UTF-8, or what its byte-order mark says.
        comment: lines that begin with it are read as blank.

    Returns:
        The text, which can be read and iterated over from any start, and its encoding.

    Raises:
        ConfigError: if it cannot be read, decompressed or decoded, or holds no text.
    """
    try:
        with path.open("rb") as file:
            raw = file if file.seekable() else io.BytesIO(file.read())  # a pipe
            with _decompressed(path, raw) as content:
                head = content.read(1000)
                content.seek(0)
                _check_text(path, head, encoding)
                encoding = _encoding(head, encoding)
                text = io.TextIOWrapper(cast(IO[bytes], content), encoding, newline="")
                yield (WithoutComments(text, comment) if comment else text), encoding
    except UnicodeError as error:
        raise ConfigError(_undecodable(path, encoding or "utf-8")) from error
    except COMPRESSED as error:
        raise ConfigError(f"data.path: {path} cannot be decompressed: {brief(error)}.") from error
    except OSError as error:
        reason = error.strerror or brief(error)
        raise ConfigError(f"data.path: {path} cannot be read: {reason}.") from error


@contextmanager
def _decompressed(path: Path, raw: IO[bytes]) -> Iterator[Any]:
    """The content of a file that may be compressed."""
    head = raw.read(6)
    raw.seek(0)
    if head.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=raw) as content:
            yield content
    elif head.startswith(b"BZh"):
        with bz2.BZ2File(raw) as unpacked:
            yield unpacked
    elif head.startswith(b"\xfd7zXZ\0"):
        with lzma.LZMAFile(raw) as extracted:
            yield extracted
    elif head.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(raw) as archive, archive.open(_member(path, archive)) as inner:
            yield inner
    else:
        yield raw


def _member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The only file in an archive."""
    names = archive.namelist()
    if "xl/workbook.xml" in names:
        raise ConfigError(f"data.path: {path} is an Excel workbook. Save it as CSV.")
    files = [
        one
        for one in archive.infolist()
        if not one.is_dir() and not one.filename.startswith("__MACOSX/")
    ]
    if len(files) != 1:
        raise ConfigError(
            f"data.path: {path} is an archive of {len(files)} files. Extract the one to read."
        )
    if files[0].flag_bits & 1:
        raise ConfigError(f"data.path: {path} is encrypted. Extract the file in it.")
    return files[0]


def _check_text(path: Path, head: bytes, encoding: str | None) -> None:
    for magic, what in NO_TEXT.items():
        if head.startswith(magic):
            raise ConfigError(f"data.path: {path} is {what}")
    if encoding is None and not any(map(head.startswith, BOMS)) and b"\0" in head:
        order = "le" if head.index(b"\0") % 2 else "be"
        raise ConfigError(
            f"data.path: {path} has null bytes, so it is not UTF-8 text. If it is UTF-16, type "
            f"data.encoding=utf-16-{order}."
        )


def _encoding(head: bytes, given: str | None) -> str:
    """The encoding to decode with; "utf-8-sig" also reads UTF-8 without a byte-order mark."""
    if given is None:
        return next((name for bom, name in BOMS.items() if head.startswith(bom)), "utf-8")
    return "utf-8-sig" if codecs.lookup(given).name == "utf-8" else given


def _undecodable(path: Path, encoding: str) -> str:
    if encoding.startswith("utf-8"):
        return (
            f"data.path: {path} is not UTF-8 text. Type data.encoding=cp1252 if Windows or Excel "
            "wrote it, else the name of its encoding, such as latin1."
        )
    return (
        f"data.encoding: {path} is not {encoding} text. Leave data.encoding out for UTF-8, or name "
        "its encoding, such as cp1252."
    )


def check_encoding(name: str) -> None:
    """Refuse a name that no text encoding has.

    Raises:
        ConfigError: if Python knows no such encoding.
    """
    try:
        io.TextIOWrapper(io.BytesIO(), name)
    except (LookupError, ValueError, TypeError) as error:
        raise ConfigError(
            f"data.encoding: {name!r} is not the name of a text encoding. Type for example utf-8, "
            "cp1252, latin1 or utf-16."
        ) from error
