"""``python -m gdexp report``: one HTML page on a run, a sweep, or several runs side by side."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gdexp.commands import common
from gdexp.config.paths import absolute
from gdexp.errors import GdexpError

if TYPE_CHECKING:
    from gdexp.insight.report.view import View
    from gdexp.tracking.run_record import RecordedRun
    from gdexp.tracking.selection import Selection
    from gdexp.tracking.store import Store

ARTIFACT = "report.html"
SUFFIXES = (".html", ".htm", "")
ID_LENGTH = 8  # characters of a run's id in a file's name


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    parser = common.parser("report", default=common.SHOWN)
    parser.add_argument("--out", metavar="FILE", help="the page (default: report-ID.html, here)")
    parser.add_argument(
        "--log",
        action="store_true",
        help=f"log it to the run, or to the sweep's summary run, as its artifact {ARTIFACT}; "
        "without --out, nowhere else",
    )
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    common.add_trust(parser)
    parser.epilog = f"{common.SWEEPS} An earlier report is replaced; no other file is."
    args = parser.parse_args(argv)
    return common.guarded(lambda: _report(args))


def _report(args: argparse.Namespace) -> int:
    from gdexp.insight.report.page import SAFE, page
    from gdexp.tracking.connect import open_existing
    from gdexp.tracking.selection import selection

    store = open_existing(args.uri, args.experiment)
    chosen = selection(store, args.runs)
    owner = _owner(chosen) if args.log else None
    is_file = args.out is not None or owner is None
    place = f"report-{_name(chosen)}.html" if args.out is None else args.out
    out = _checked(place) if is_file else None
    content = page(_view(store, chosen, args)).encode(*SAFE)
    places = []
    if owner is not None:
        store.add_files(owner, {ARTIFACT: content})
        places.append(_artifact(owner))
    if out is not None:
        _write(out, content)
        places.append(str(out))
    common.show("\n".join(places))
    if args.open:
        _open(places[-1])
    common.report_silent(chosen.runs)
    return 0


def _view(store: Store, chosen: Selection, args: argparse.Namespace) -> View:
    from gdexp.commands import report_run, report_runs
    from gdexp.config.trust import Trust

    if chosen.sweep_id is None and len(chosen.runs) == 1:
        return report_run.view(store, chosen.runs[0], Trust(tuple(args.trust)), uri=args.uri)
    return report_runs.view(store, chosen, uri=args.uri)


def _owner(chosen: Selection) -> RecordedRun:
    """The run that gets the page: the summary run of a sweep, or the only run.

    Raises:
        GdexpError: there is none.
    """
    if chosen.summary is not None:
        return chosen.summary
    if chosen.sweep_id is not None:
        raise GdexpError(
            f"--log: sweep {chosen.sweep_id} has no summary run to log the report to. "
            "Leave --log out, and name a file with --out."
        )
    if len(chosen.runs) > 1:
        raise GdexpError("--log: name one run or one sweep, to which the report belongs.")
    return chosen.runs[0]


def _name(chosen: Selection) -> str:
    if chosen.sweep_id is not None:
        return chosen.sweep_id
    ids = [run.run_id[:ID_LENGTH] for run in chosen.runs]
    return ids[0] if len(ids) == 1 else f"{ids[0]}-and-{len(ids) - 1}-more"


def _checked(path: str) -> Path:
    """The absolute path of the page.

    Raises:
        GdexpError: it is the path of another file, or of a folder, or its folder does not exist, or
            it has the suffix of another kind of file.
    """
    from gdexp.insight.report.page import is_report

    out, why = absolute(path), ""
    try:
        if out.is_dir():
            why = "is a folder"
        elif out.suffix.lower() not in SUFFIXES:
            raise GdexpError(f"--out: {path}: a report is an HTML page. Type {out.stem}.html.")
        elif os.path.lexists(out) and not out.is_file():
            why = "already exists, and is not a file"
        elif out.exists():
            with out.open("rb") as file:
                is_ours = is_report(file.read(1000))
            why = "" if is_ours else "already exists, and is not a report of gdexp's"
        elif not out.parent.is_dir():
            why = f"cannot be written, since the folder {out.parent} does not exist"
    except (OSError, ValueError) as error:  # unreadable, too long, or with a null byte
        why = f"is not a file that can be written ({getattr(error, 'strerror', None) or error})"
    if why:
        shown = path or repr(path)
        raise GdexpError(f"--out: {shown} {why}. Name a new file in a folder that exists.")
    return out


def _write(out: Path, content: bytes) -> None:
    from gdexp.config.paths import write_whole

    try:
        write_whole(out, content)
    except OSError as error:
        raise GdexpError(f"--out: {out} cannot be written: {error.strerror}.") from error


def _artifact(run: RecordedRun) -> str:
    """Where the page is among the artifacts of a run: a path, if it is on this machine."""
    from gdexp.tracking.artifacts import local_path

    folder = local_path(run.artifact_uri)
    return f"{run.artifact_uri}/{ARTIFACT}" if folder is None else str(folder / ARTIFACT)


def _open(place: str) -> None:
    import webbrowser

    address = place if "://" in place or not Path(place).exists() else Path(place).as_uri()
    if not webbrowser.open(address):
        print(f"no browser can be opened here: open {place}", file=sys.stderr)
