"""Kills gdexp again and again, and counts what the store has lost, doubled or made up.

    python scripts/soak.py --minutes 30                    real processes, a SQLite file
    python scripts/soak.py --kills 1000 --store postgresql
    python scripts/soak.py --kills 100 --forks             spares the imports: twice as fast

Runs and sweeps are killed with -9, SIGINT, SIGTERM and SIGHUP, at random moments and at chosen
writes; sweeps are resumed, ``compare`` reads in between. Every run that a command reports as
recorded is noted in a file outside the store and synced. After each round of cases, ``compare`` and
``sync`` run once more; then the store is read without gdexp and compared with that file. The exit
code is 1 if anything is wrong; the folder of that round is then kept, and named. ``--seed`` and
``--first`` repeat a round: the same commands, signals and writes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from soak_audit import COLUMNS, Problem, damage, left_over, problems
from soak_cases import Cases, Place
from soak_log import Log
from soak_servers import STORES, Store

SIZE = 20  # cases in a round


def main() -> int:
    """Run rounds until time or kills are up; print the table."""
    args = _arguments()
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "HYDRA_"))]:
        del os.environ[name]
    cases = Cases(args.seed, args.forks)
    deadline = time.monotonic() + 60 * args.minutes
    counts: Counter[str] = Counter()
    with STORES[args.store]() as store:
        number = args.first
        while time.monotonic() < deadline and (not args.kills or cases.kills < args.kills):
            counts += _round(number, cases, store, args, deadline)
            number += 1
    print(_table(counts, cases))
    return int(any(counts[column] for column in COLUMNS))


def _arguments() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--minutes", type=float, default=30, help="at most so long (default: 30)")
    parser.add_argument("--kills", type=int, default=0, help="stop after so many kills")
    parser.add_argument("--store", choices=STORES, default="sqlite", help="default: sqlite")
    parser.add_argument("--seed", type=int, default=0, help="of all chances (default: 0)")
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time (default: 2)")
    parser.add_argument("--forks", action="store_true", help="fork commands, sparing the imports")
    return parser.parse_args()


def _round(
    number: int, cases: Cases, store: Store, args: argparse.Namespace, deadline: float
) -> Counter[str]:
    """Perform a round of cases in a new folder, and audit it."""
    folder = Path(tempfile.mkdtemp(prefix=f"gdexp-soak-{number}-"))
    (folder / "logs").mkdir()
    log = Log(folder / "log.jsonl")
    place = Place(folder, store.prepare(folder), lambda sweep_id: _has(store, folder, sweep_id))
    cases.calibrate(log, place)

    def perform(case: int) -> None:
        is_over = args.kills and cases.kills >= args.kills
        if time.monotonic() < deadline and not is_over:
            cases.perform(case, log, place)

    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(perform, range(number * SIZE, (number + 1) * SIZE)))
    wrong = _closing(cases, place)
    with store.query(folder) as query:
        rows = store.rows(query, folder)
        wrong += [*problems(log.cases, rows, atomic=store.is_atomic), *left_over(folder, rows)]
        wrong += damage(query) if store.is_sqlite else []
    counts = Counter(problem.column for problem in wrong)
    counts["runs"] = sum(case.jobs for case in log.cases.values())
    counts["acknowledged"] = sum(case.acknowledged for case in log.cases.values())
    print(f"round {number}: {counts['runs']} runs, {cases.kills} kills so far", file=sys.stderr)
    if wrong:
        _report(wrong, number, folder, args)
    else:
        shutil.rmtree(folder)
    return counts


def _has(store: Store, folder: Path, sweep_id: str) -> bool:
    with store.query(folder) as query:
        tag = f"SELECT 1 FROM tags WHERE key = 'gdexp.sweep_id' AND value = '{sweep_id}'"
        return bool(query(tag))


def _closing(cases: Cases, place: Place) -> list[Problem]:
    """The next commands on the store, which close and deliver what the killed ones left."""
    wrong = []
    for words in (("compare", "--all"), ("sync",)):
        ended = cases.command(place, *words)
        if ended.code or "Traceback" in ended.err:
            wrong.append(Problem("exit code", 0, f"{words[0]}: {ended.code} {ended.err}"))
    return wrong


def _report(wrong: Sequence[Problem], number: int, folder: Path, args: argparse.Namespace) -> None:
    again = f"--seed {args.seed} --first {number} --store {args.store}"
    again += f" --jobs {args.jobs}{' --forks' * args.forks}"
    print(f"round {number} is kept in {folder}", file=sys.stderr)
    print(f"again: python scripts/soak.py {again}", file=sys.stderr)
    for problem in wrong:
        print(f"  {problem.column}, seed {problem.seed}: {problem.text}", file=sys.stderr)


def _table(counts: Counter[str], cases: Cases) -> str:
    struck = ", ".join(f"{count} {name}" for name, count in cases.struck.most_common())
    rows = [
        ("runs", counts["runs"], "started, alone and in sweeps"),
        ("acknowledged", counts["acknowledged"], "reported as recorded, or ended by Ctrl-C"),
        ("kills", cases.kills, struck),
        *((column, counts[column], text) for column, text in COLUMNS.items()),
    ]
    return "\n".join(f"{name:<13} {count:>7}  {text}".rstrip() for name, count, text in rows)


if __name__ == "__main__":
    sys.exit(main())
