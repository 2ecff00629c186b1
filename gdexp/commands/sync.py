"""``python -m gdexp sync``: deliver the runs in ``outputs/spool`` to their stores."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gdexp.commands import COMMANDS, common
from gdexp.config.paths import relative
from gdexp.errors import GdexpError, brief, counted

if TYPE_CHECKING:
    from gdexp.tracking.delivery import Delivered

BUSY = 10.0  # seconds to wait for another process that is delivering
DESCRIPTION = f"""\
{COMMANDS["sync"].capitalize()}.

The spool names a store without credentials. Set PGPASSWORD, or MLFLOW_TRACKING_USERNAME and
MLFLOW_TRACKING_PASSWORD, or name the store with its password as MLFLOW_TRACKING_URI or --uri.
Every other gdexp command that opens the store delivers its runs, too.
"""


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Returns:
        The exit code: 0, or 2 if nothing could be delivered.
    """
    parser = common.Parser(
        prog="python -m gdexp sync",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--uri", help="deliver to this store only (default: to all)")
    args = parser.parse_args(argv)
    return common.guarded(partial(_sync, args.uri))


def _sync(uri: str | None) -> int:
    from gdexp.tracking import spool
    from gdexp.tracking.location import resolve

    place = spool.folder()
    known = _known_stores(uri)
    groups, left = _grouped(spool.files(place))
    if uri is not None:
        wanted = spool.address_of(resolve(uri))
        groups = {key: paths for key, paths in groups.items() if key[0] == wanted}
    if not groups and not left:
        common.show(f"nothing to deliver in {relative(place)}")
        return 0
    count = 0
    for (address, experiment), paths in groups.items():
        try:
            done = _deliver(known.get(address, address), experiment)
        except GdexpError as error:
            left |= dict.fromkeys(paths, brief(error))
            continue
        where = f"experiment {experiment} of {address}"
        for key, run_id in done.ids.items():
            common.show(f"{done.names[key]}: run {run_id} in {where}")
        count += len(done.ids)
        left |= done.left
        if done.is_busy:
            left |= dict.fromkeys(paths, "another process is delivering it")
    for reason in dict.fromkeys(left.values()):
        alike = [path for path, why in left.items() if why == reason]
        which = f"{relative(alike[0])} is" if len(alike) == 1 else f"{len(alike)} files are"
        print(f"gdexp: {which} left: {reason}.", file=sys.stderr)
    rest = f"; {counted(len(left), 'file')} left" if left else ""
    print(f"delivered {counted(count, 'run')}{rest}", file=sys.stderr)
    return 2 if left and not count else 0


def _known_stores(uri: str | None) -> Mapping[str, str]:
    """URIs that may have a password, by what the spool calls the store."""
    from gdexp.tracking import spool
    from gdexp.tracking.location import resolve

    uris = {resolve(None), resolve(uri)}
    return {spool.address_of(each): each for each in sorted(uris, key=lambda u: u == resolve(uri))}


def _grouped(paths: Iterable[Path]) -> tuple[dict[tuple[str, str], list[Path]], dict[Path, str]]:
    """The files for each experiment of a store; and those that are damaged, and why."""
    from gdexp.tracking import spool

    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    left = {}
    for path in paths:
        try:
            content = spool.read(path)
        except ValueError as error:
            if path.exists():  # else it has just been delivered
                left[path] = brief(error)
        else:
            groups[content.address, content.experiment].append(path)
    return groups, left


def _deliver(uri: str, experiment: str) -> Delivered:
    from gdexp.tracking import spool
    from gdexp.tracking.connect import opened
    from gdexp.tracking.delivery import deliver
    from gdexp.tracking.location import kind_of, resolve, sqlite_path
    from gdexp.tracking.patience import patiently

    uri = resolve(uri)
    if kind_of(uri) == "sqlite" and not (path := sqlite_path(uri)).parent.exists():
        raise GdexpError(f"its store was in {path.parent}, which does not exist")
    store = opened(uri, experiment)
    try:
        return patiently(partial(deliver, store, spool.folder(), BUSY), store.uri)
    except TimeoutError as error:
        raise GdexpError(f"the store does not answer: {brief(error)}") from error
