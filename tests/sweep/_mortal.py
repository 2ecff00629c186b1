"""The command line with a death: ``python _mortal.py 7 0.001 -m lr=0.1,0.2``.

The process is killed, as ``kill -9`` does it, so many seconds after it starts its seventh write:
a file below the working folder, a statement that changes the store, or a commit. One that lives
on prints on stdout how many writes it has made.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

HERE = os.getcwd()
WRITING = os.O_WRONLY | os.O_RDWR
made = 0


def write(*_: Any) -> None:
    global made
    made += 1
    if made == last:
        threading.Thread(target=die, daemon=True).start() if seconds else die()


def die() -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def audit(name: str, args: tuple[Any, ...]) -> None:
    if name == "os.mkdir" or (name == "open" and args[2] & WRITING):
        path = args[0]
        if isinstance(path, str | os.PathLike) and os.path.abspath(path).startswith(HERE):
            write()


def statement(text: str) -> None:
    if not text.lstrip().upper().startswith(("SELECT", "PRAGMA", "BEGIN")):
        write()


if __name__ == "__main__":
    last, seconds = int(sys.argv[1]), float(sys.argv[2])
    sys.argv[1:3] = []
    sys.dont_write_bytecode = True
    from gdexp.commands import main
    from gdexp.tracking import database, recorder

    recorder.RUNS = 5  # several transactions even in a small sweep
    connect = database.Sqlite._connect

    def traced(self: database.Sqlite) -> Any:
        connection = connect(self)
        connection.set_trace_callback(statement)
        return connection

    database.Sqlite._connect = traced
    sys.addaudithook(audit)
    try:
        main()
    finally:
        print(made)
