"""Shared by the sub-commands: parsing arguments, reporting errors, printing."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

from gdexp.commands import COMMANDS
from gdexp.descent.signals import handled
from gdexp.errors import GdexpError, Interrupted, brief, counted, did_you_mean

if TYPE_CHECKING:
    from gdexp.tracking.run_record import RecordedRun

UNKNOWN = "unrecognized arguments: "  # how argparse's message starts


class Parser(argparse.ArgumentParser):
    """An argument parser that reports errors in one sentence, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where the help is, and exit."""
        if message.startswith(UNKNOWN):
            word = (message.removeprefix(UNKNOWN).split() or ["''"])[0]
            known = [text for action in self._actions for text in action.option_strings]
            nearest = did_you_mean(word.partition("=")[0], known) if word[0] == "-" else ""
            message = f"unrecognized argument {word}.{nearest}"
        else:
            message += "."
        command = self.prog.rpartition(" ")[2]
        print(f"gdexp: {command}: {message} {self.prog} --help lists its options.", file=sys.stderr)
        sys.exit(2)


NEWEST = "the last sweep if the newest run belongs to one, else the newest 20 runs"
SHOWN = "the sweep of the newest run, else that run"  # by plot and report
SWEEPS = "A sweep is named by its id, its folder, the id of its summary run, or the word last."
LISTED = 5  # runs that are not heard from


def bare(command: str, epilog: str = "") -> Parser:
    """Make the parser of a command, described by its line in :data:`gdexp.commands.COMMANDS`."""
    line = COMMANDS[command]
    description = f"{line[0].upper()}{line[1:]}."
    return Parser(prog=f"python -m gdexp {command}", description=description, epilog=epilog or None)


def parser(command: str, *, single: bool = False, default: str = NEWEST) -> Parser:
    """Make the parser of a command that takes runs, a store and an experiment.

    Args:
        command: its name in :data:`gdexp.commands.COMMANDS`.
        single: whether it takes exactly one run.
        default: else, which runs it takes if none is named.
    """
    made = bare(command)
    made.add_argument(
        "runs",
        nargs=1 if single else "*",
        type=run_id,
        metavar="RUN_ID",
        help="a run's id, or its first characters" + ("" if single else f" (default: {default})"),
    )
    made.add_argument("--uri", help="the store (default: MLFLOW_TRACKING_URI, else outputs/)")
    made.add_argument(
        "--experiment", metavar="NAME", help="default: MLFLOW_EXPERIMENT_NAME, else gdexp"
    )
    return made


def add_trust(made: Parser) -> None:
    """Add ``--trust``, which names own code that a record may name."""
    made.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="NAME",
        help="own code that the run may name, such as 'mypackage.*' (repeatable)",
    )


def run_id(text: str) -> str:
    """A word that names a run, which a setting does not."""
    if "=" in text:
        raise argparse.ArgumentTypeError(
            f"{text} is a setting, not a run's id. To run it, type python -m gdexp "
            f"{shlex.quote(text)}"
        )
    return text


def guarded(action: Callable[[], int]) -> int:
    """Run a command; a GdexpError or OSError is printed on stderr, with exit code 2."""
    try:
        with handled():
            return action()
    except Interrupted as stop:
        return stop.exit_code
    except GdexpError as error:
        print(f"gdexp: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a file, or a server that keeps the artifacts
        print(f"gdexp: {brief(error)}.", file=sys.stderr)
        return 2


def show(text: str) -> None:
    """Print on stdout; a reader that stops early (``| head``) is not an error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows of a table as lines, with columns of equal widths."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip()


def report_silent(runs: Sequence[RecordedRun]) -> None:
    """Print on stderr which runs have no end though their process may be gone."""
    from gdexp.tracking.liveness import is_silent, silence

    silent = [run for run in runs if is_silent(run)]
    for run in silent[:LISTED]:
        print(f"run {run.run_id[:8]}: {silence(run)}", file=sys.stderr)
    if more := len(silent[LISTED:]):
        print(f"and {counted(more, 'other run')} likewise", file=sys.stderr)
    if silent:
        print("if their processes are gone: python -m gdexp repair", file=sys.stderr)
