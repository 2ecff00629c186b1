"""Saving pictures: on one sheet, or a file for each. Nothing is overwritten unasked."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from gdexp.config.paths import absolute, write_whole
from gdexp.descent.result import Result
from gdexp.errors import GdexpError, did_you_mean
from gdexp.insight.pictures.of_run import of_run
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.sheet import sheet

KINDS = ("svg", "png")


@dataclass(frozen=True)
class Place:
    """Where pictures are saved.

    Attributes:
        path: a file, which gets all of them on one sheet, or a folder, which gets an SVG of each.
        is_folder: which of the two it is.
        replaces: whether a file with another content is replaced.
        how: what to type to replace it.
    """

    path: Path
    is_folder: bool
    replaces: bool = False
    how: str = "pass replace=True"

    @classmethod
    def of(cls, out: str, *, replaces: bool = False, how: str = how) -> Place:
        """The place that ``out`` names: ``run.svg``, ``run.png``, or the folder ``run/``.

        Raises:
            GdexpError: it is a file of another kind, or its folder does not exist.
        """
        if not out:
            raise GdexpError("'' is not a file name. Type FILE.svg, FILE.png or FOLDER/.")
        try:
            path = absolute(os.path.expanduser(out))
            kind = path.suffix.lower().removeprefix(".")
            if not kind and path.name.lower().removeprefix(".") in KINDS:
                raise GdexpError(f"{out} has no name before its suffix. Type run{path.name}.")
            is_folder = out.endswith(("/", os.sep)) or path.is_dir() or not kind
            if not is_folder and kind not in KINDS:
                raise GdexpError(
                    f"{out}: pictures are saved as .svg or .png. Type {path.stem}.svg, or "
                    f"{path.stem}/ for a folder with a file for each."
                )
            if is_folder and path.exists() and not path.is_dir():
                raise GdexpError(f"{out} is a file, not a folder. Name another one.")
            if not path.parent.is_dir():
                raise GdexpError(
                    f"{out} cannot be written, since the folder {path.parent} does not exist."
                )
        except (OSError, ValueError) as error:  # too long, or with a null byte
            if isinstance(error, GdexpError):
                raise
            why = getattr(error, "strerror", error)
            raise GdexpError(f"{out} is not a file name ({why}).") from error
        return cls(path, is_folder, replaces, how)

    @classmethod
    def new(cls, folder: Path, name: str) -> Place:
        """A file ``name.svg`` in the folder, which is created; see :meth:`write`."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GdexpError(f"{folder} cannot be created: {error.strerror}.") from error
        return cls(folder / f"{name}.svg", is_folder=False, how="")

    def write(self, pictures: Sequence[Picture], heading: str) -> list[Path]:
        """Save the pictures and return the paths of their files.

        A file that has this content already is left as it is. Of a new place, a number is added to
        the name if there is another file of this name.

        Raises:
            GdexpError: a file has another content, or cannot be written.
        """
        if self.is_folder:
            contents = {self.path / f"{p.name}.svg": p.svg() for p in pictures}
        else:
            kind = self.path.suffix.lower().removeprefix(".")
            content = sheet(pictures, kind, heading)
            contents = {self.path if self.how else _numbered(self.path, content): content}
        missing = {path: new for path, new in contents.items() if _read(path) != new}
        for path in missing:
            if os.path.lexists(path) and not (self.replaces and path.is_file()):
                way = f", or {self.how}" if path.is_file() else ""
                raise GdexpError(f"{path} already exists. Name a new file{way}.")
        for path, content in missing.items():
            try:
                path.parent.mkdir(exist_ok=True)
                write_whole(path, content)
            except OSError as error:
                raise GdexpError(f"{path} cannot be written: {error.strerror}.") from error
        return [*contents]


def _read(path: Path) -> bytes | None:
    """The content of a file; None if there is none, or it cannot be read."""
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError:
        return None


def _numbered(path: Path, content: bytes) -> Path:
    """The first of ``name.svg``, ``name-2.svg``, … that does not exist, or has this content."""
    numbers = itertools.count(2)
    free = path
    while os.path.lexists(free) and _read(free) != content:
        free = path.with_stem(f"{path.stem}-{next(numbers)}")
    return free


def chosen(pictures: Iterable[Picture], only: Sequence[str]) -> list[Picture]:
    """The pictures of these names, or all.

    Raises:
        GdexpError: there is none of a name.
    """
    known = {picture.name: picture for picture in pictures}
    for name in only:
        if name not in known:
            raise GdexpError(
                f"there is no picture {name!r} here.{did_you_mean(name, known)} "
                f"There are: {', '.join(known)}."
            )
    return [known[name] for name in dict.fromkeys(only)] if only else [*known.values()]


class Pictures(tuple[Picture, ...]):
    """Pictures, which a notebook shows below each other."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return "".join(
            f"<figure>{p.inline()}<figcaption>{escape(p.description)}</figcaption></figure>"
            for p in self
        )


def plot(result: Result, out: str | None = None, *, replace: bool = False) -> Pictures:
    """The pictures of a result; saved as well, if ``out`` names a file or a folder."""
    place = None if out is None else Place.of(out, replaces=replace)
    pictures = Pictures(of_run(result))
    if place is not None:
        if not pictures:
            raise GdexpError(f"{result!r} has no epoch, so there is nothing to draw.")
        words = result.job.typed if result.job is not None else ()
        place.write(pictures, f"{' '.join(words)} ({result.outcome}: {result.reason})".strip())
    return pictures
