"""One command of the soak as a process that sends itself a signal at a chosen write.

    python scripts/soak_victim.py '{"words": ["iters=9"], "write": 7, "signum": 9}'

A write is a file below the working folder that is opened for writing, renamed or synced, a folder
made there, a statement that changes a database, or a request to a server. The soak starts a victim
like this, or forks it from a process that has imported gdexp already.
"""

from __future__ import annotations

import json
import os
import pkgutil
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR
READING = ("SELECT", "PRAGMA", "ROLLBACK", "--")
WITHIN = ("INSERT", "UPDATE", "DELETE", "WITH")  # in memory until the transaction is committed
ENDING = ("COMMIT", "ROLLBACK", "END")


@dataclass(frozen=True)
class Plan:
    """A command and what happens to it.

    Attributes:
        words: the command line after ``python -m gdexp``.
        folder: the working folder; "" for the current one.
        out: the file that gets stdout.
        err: the file that gets stderr.
        env: changes of the environment.
        api: whether to call ``gdexp.run`` or ``gdexp.sweep`` instead, and print the runs' ids.
        brisk: whether a run is opened after 20 ms and fed as often, so that it has many writes.
        write: the number of the write at which the signal is sent; 0: none is sent.
        delay: seconds from that write to the signal.
        signum: the signal.
        count: a file that gets the number of writes, if the command ends by itself.
    """

    words: tuple[str, ...]
    folder: str = ""
    out: str = ""
    err: str = ""
    env: dict[str, str] = field(default_factory=dict)
    api: bool = False
    brisk: bool = False
    write: int = 0
    delay: float = 0.0
    signum: int = signal.SIGKILL
    count: str = ""

    def text(self) -> str:
        """The plan as the argument of this script."""
        return json.dumps(asdict(self))


class Writes:
    """Counts the writes of this process, and sends the signal."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._here, self.made = plan, os.getcwd() + os.sep, 0
        self._is_open = False  # whether a transaction is
        sys.addaudithook(self._audit)
        self._before(os, "fsync", lambda *_: self._one())
        connect = sqlite3.connect

        def traced(*args: Any, **settings: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*args, **settings)
            connection.set_trace_callback(self._statement)
            return connection

        setattr(sqlite3, "connect", traced)  # noqa: B010  (mypy refuses a plain assignment)
        if os.environ.get("MLFLOW_TRACKING_URI", "").startswith("postgresql"):
            import psycopg

            self._before(psycopg.Connection, "commit", lambda *_: self._one())
            for name in ("execute", "executemany", "copy"):
                self._before(psycopg.Cursor, name, lambda _, sql, *__: self._statement(str(sql)))

    def _before(self, owner: Any, name: str, tell: Callable[..., None]) -> None:
        """Let a function or method first call another with its arguments."""
        original = getattr(owner, name)

        def replaced(*args: Any, **settings: Any) -> Any:
            tell(*args)
            return original(*args, **settings)

        setattr(owner, name, replaced)

    def _audit(self, name: str, args: tuple[Any, ...]) -> None:
        if name == "open":
            if args[2] & WRITING and self._is_here(args[0]):
                self._one()
        elif name in ("os.mkdir", "os.rename", "os.remove"):
            if self._is_here(args[0]):
                self._one()
        elif name == "http.client.send":
            self._one()

    def _is_here(self, path: Any) -> bool:
        is_path = isinstance(path, str | os.PathLike)
        return is_path and os.path.abspath(path).startswith(self._here)

    def _statement(self, text: str) -> None:
        """Count a statement, but of a transaction in SQLite only its begin and its end."""
        word = text.lstrip().upper().partition(" ")[0]
        if word not in READING and not (self._is_open and word in WITHIN):
            self._one()
        self._is_open = word == "BEGIN" or (self._is_open and word not in ENDING)

    def _one(self) -> None:
        self.made += 1
        if self.made == self._plan.write:
            if self._plan.delay:
                threading.Thread(target=self._send, daemon=True).start()
            else:
                self._send()

    def _send(self) -> None:
        time.sleep(self._plan.delay)
        os.kill(os.getpid(), self._plan.signum)


def forked(plan: Plan) -> None:
    """Perform a plan in a process that has just been forked for it; exits with its code."""
    os.setsid()
    os.chdir(plan.folder)
    for number, name in ((1, plan.out), (2, plan.err)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.update(plan.env)
    perform(plan)


def perform(plan: Plan) -> None:
    """Run the command in this process; exits with its code."""
    if plan.brisk:
        from gdexp.tracking import recorder

        recorder.LASTING = recorder.EVERY = 0.02
        recorder.RUNS = 3  # several transactions even in a small sweep
    writes = Writes(plan)
    try:
        if plan.api:
            _call(plan.words)
        else:
            from gdexp.__main__ import main

            sys.argv = ["gdexp", *plan.words]
            main()
    finally:
        if plan.count:
            Path(plan.count).write_text(str(writes.made))
        sys.stdout.flush()


def _call(words: tuple[str, ...]) -> None:
    import gdexp

    if words[0] != "-m":
        print("returned run", gdexp.run(*words).run_id)
        return
    for run_id in gdexp.sweep(*words[1:]).run_id:
        print("returned run", run_id)


def modules() -> list[str]:
    """The modules to import before forking."""
    import gdexp

    apart = ("gdexp.pytorch", "gdexp.__main__", "gdexp.sweep.plugins", "gdexp.tracking.served")
    names = [module.name for module in pkgutil.walk_packages(gdexp.__path__, "gdexp.")]
    kept = [name for name in names if not name.startswith(apart)]
    return ["soak_victim", "pyarrow.parquet", "filelock", *kept]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    described = json.loads(sys.argv[1])
    perform(Plan(**described | {"words": tuple(described["words"])}))
