"""``python -m gdexp predict``: what a recorded run predicts for the rows of a table."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gdexp.commands import common
from gdexp.config.paths import absolute
from gdexp.data.csv_format import SEPARATORS, Format
from gdexp.data.numbers import DECIMALS, THOUSANDS
from gdexp.errors import GdexpError

WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    parser = common.parser("predict", single=True)
    parser.add_argument("file", help="a CSV or Parquet file with one column per feature")
    parser.add_argument("--out", metavar="FILE", help="a new file to write to (default: stdout)")
    fit = "(default: as for the run's own file)"
    parser.add_argument("--separator", choices=SEPARATORS, help=f"between cells {fit}")
    parser.add_argument("--decimal", choices=DECIMALS, help=f"the decimal sign {fit}")
    parser.add_argument(
        "--thousands", choices=[*THOUSANDS, "null"], help=f"between groups of three digits {fit}"
    )
    parser.add_argument("--encoding", metavar="NAME", help=f"as in cp1252 {fit}")
    parser.add_argument(
        "--comment", metavar="SIGN", help=f"lines that begin with it are skipped {fit}"
    )
    parser.add_argument(
        "--header",
        choices=["true", "false", "null"],
        help=f"whether the first line has names {fit}",
    )
    common.add_trust(parser)
    args = parser.parse_args(argv)
    return common.guarded(lambda: _predict(args))


def _predict(args: argparse.Namespace) -> int:
    from gdexp.commands.prediction import as_options, find, is_parquet, predict
    from gdexp.config.trust import Trust
    from gdexp.tracking.connect import open_existing
    from gdexp.tracking.query import select
    from gdexp.tracking.restore import fitted_of

    path, trust = find(args.file), Trust(tuple(args.trust))
    out = None if args.out is None else new_file(args.out)
    if out is None and is_parquet(path):
        raise GdexpError(f"--out: name a new file for the table, since {args.file} is Parquet.")
    store = open_existing(args.uri, args.experiment)
    run = select(store, args.runs)[0]
    fitted = fitted_of(store, run, trust)
    with as_options():
        content, encoding = predict(path, _format(args, run.params), fitted)
    if out is None:
        common.show(content.decode(encoding).rstrip("\n"))
        return 0
    try:
        with out.open("xb") as file:
            file.write(content)
    except OSError as error:
        raise GdexpError(f"--out: {out} cannot be written: {error.strerror}.") from error
    return 0


def _format(args: argparse.Namespace, params: Mapping[str, str]) -> Format:
    """How the file is written: as typed, else as the file that the run was fitted to.

    Raises:
        ConfigError: if the settings contradict each other.
    """
    keys = tuple(vars(Format()))
    of_run = {key: params[f"data.{key}"] for key in keys if f"data.{key}" in params}
    typed = {key: getattr(args, key) for key in keys if getattr(args, key) is not None}
    if of_run.get("separator") not in SEPARATORS:  # the run was not fitted to a CSV file
        of_run = {}
    settings: dict[str, Any] = {k: WORDS.get(v, v) for k, v in (of_run | typed).items()}
    return Format(**settings)


def new_file(path: str) -> Path:
    """The absolute path of an output file.

    Raises:
        GdexpError: it already exists, or its folder does not.
    """
    out = absolute(path)
    try:
        why = "already exists" if out.exists() else ""
        if not why and not out.parent.is_dir():
            why = f"cannot be written, since the folder {out.parent} does not exist"
    except (OSError, ValueError) as error:  # too long, or with a null byte
        why = f"is not a file name ({getattr(error, 'strerror', error)})"
    if why:
        raise GdexpError(f"--out: {path} {why}. Name a new file in a folder that exists.")
    return out
