"""Whether the process that owns a run is alive; and the end of the runs whose process has died.

A process that is killed, or whose machine goes down, leaves its run RUNNING. The tag
``gdexp.process`` names the owner, so that the next command on the store can record the end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, TypeVar

from gdexp.credentials import without_password
from gdexp.errors import WriteError, brief, counted
from gdexp.tracking import environment
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.store import Store
from gdexp.tracking.tags import KIND, NOTE, OUTCOME, OVERRIDES, PROCESS, REASON, SWEEP

State: TypeAlias = Literal["alive", "dead", "unknown"]
AnyStore = TypeVar("AnyStore", bound=Store)

INITIAL = "pid:[4026531836] time:[4026531834]"  # of Linux: the namespaces outside all containers
LATEST = 253_402_300_799  # the last second that a datetime can show


def state(owner: str | None) -> State:
    """Whether the process named by a tag ``gdexp.process`` is alive.

    No clock is asked. The answer is "unknown" unless it is certain: a process of this boot is
    looked up by its number and its start; one of an earlier boot is dead if this is the same
    machine, which a container cannot tell.
    """
    here, there = environment.identity(), _parsed(owner)
    boot, namespaces = there.get("boot_id"), there.get("namespaces")
    if not boot or not here["boot_id"]:
        return "unknown"
    is_same_host = there.get("host") == here["host"]
    if boot != here["boot_id"]:
        is_same_machine = bool(here["machine"]) and there.get("machine") == here["machine"]
        is_outside = here["namespaces"] == namespaces == INITIAL
        return "dead" if is_same_host and is_same_machine and is_outside else "unknown"
    if namespaces is None and is_same_host:  # gdexp 0.2.0 did not record it
        namespaces = here["namespaces"]
    return _state_in(namespaces, here["namespaces"], there.get("pid"), there.get("started"))


def _parsed(owner: str | None) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        if isinstance(parsed := json.loads(owner or ""), dict):
            return parsed
    return {}


def _state_in(theirs: Any, ours: str, pid: Any, started: Any) -> State:
    """The state of a process of this boot, whose number holds in other namespaces or ours."""
    if type(pid) is not int or not 0 < pid < 2**31 or not isinstance(started, str) or not ours:
        return "unknown"
    if theirs == ours:
        return _state_of(pid, started)
    # Only from outside all containers is every process visible, by a number of its own.
    if ours != INITIAL or not str(theirs).endswith(INITIAL.split()[1]):
        return "unknown"
    if environment.process_stat(1) is None:  # other users' processes are hidden
        return "unknown"
    return "alive" if any(_all_started(pid, started)) else "dead"


def _state_of(pid: int, started: str) -> State:
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return "dead"
    except PermissionError:
        pass  # it is another user's
    stat = environment.process_stat(pid)
    if stat is None:  # hidden, or it has just ended
        return "unknown"
    return "alive" if stat.is_alive(started) else "dead"


def _all_started(pid: int, started: str) -> Iterator[bool]:
    """For each process in a container that started then: whether this is its number there."""
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        stat = environment.process_stat(entry)
        if stat is not None and stat.is_alive(started):
            yield environment.innermost_pid(entry) in (pid, None)


def under_way(store: Store) -> list[RecordedRun]:
    """The runs and sweeps that have an owner: in a database all, on a server the experiment's."""
    runs = store.runs({PROCESS: None}, everywhere=store.atomic)
    return [run for run in runs if run.status == "RUNNING"]


def close_dead(store: AnyStore) -> AnyStore:
    """Record the end of the runs and sweeps whose process has died; return the store.

    A store that cannot be written stays as it is, and can still be read.
    """
    closed = 0
    with suppress(Exception):
        for run in under_way(store):
            if state(run.tags[PROCESS]) == "dead":
                closed += close(store, run)
    if closed:
        from gdexp.console import say

        say(f"closed {counted(closed, 'run')} whose process had died: KILLED, interrupted")
    return store


def close(store: Store, run: RecordedRun, how: str = "") -> bool:
    """Record a run as KILLED, its end being its last point.

    Args:
        store: the store.
        run: the run, or the summary of a sweep.
        how: how one knows that its process died, if not by looking for it.

    Returns:
        Whether it was done here; False if the run has ended, or changed its owner, meanwhile.

    Raises:
        WriteError: the store cannot be written.
    """
    end_ms, tags, command = run.heard_ms, {OUTCOME: "interrupted"}, "python -m gdexp"
    if run.tags.get(KIND) == "sweep":
        command += " -m"
        end_ms = max([end_ms, *(each.heard_ms for each in _members(store, run))])
        reason = f"its process died{how}"
    else:
        where = f"after epoch {run.epoch}" if run.epoch else "before its first recorded epoch"
        reason = f"its process died {where}{how}"
        tags[REASON] = reason  # a sweep has it in its note alone, and may be resumed
    command = f"{command} {run.tags.get(OVERRIDES, '')}".rstrip()
    tags[NOTE] = f"`{command}` interrupted: {reason}."
    try:
        return store.interrupt(run, end_ms, tags)
    except Exception as error:
        raise WriteError(
            f"{without_password(store.uri)} cannot be written: {brief(error)}."
        ) from error


def _members(store: Store, summary: RecordedRun) -> list[RecordedRun]:
    """The runs of a sweep."""
    sweep = summary.tags.get(SWEEP)
    return store.runs({SWEEP: sweep}, everywhere=store.atomic) if sweep else []


def is_silent(run: RecordedRun) -> bool:
    """Whether a run has no end, though its process may be dead, or is: in a read-only store."""
    return run.status == "RUNNING" and state(run.tags.get(PROCESS)) != "alive"


def silence(run: RecordedRun) -> str:
    """``not heard from since 2026-11-25 21:40:12 UTC, on node7``."""
    when = datetime.fromtimestamp(min(max(run.heard_ms / 1000, 0), LATEST), UTC)
    host = _parsed(run.tags.get(PROCESS)).get("host")
    return f"not heard from since {when:%Y-%m-%d %H:%M:%S} UTC{f', on {host}' if host else ''}"
