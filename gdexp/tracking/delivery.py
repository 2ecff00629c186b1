"""Between a run and its store: what cannot be written is spooled, and delivered later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from gdexp.config.paths import relative
from gdexp.console import report_kept, say
from gdexp.errors import RefusedError, WriteError, brief, cause, counted
from gdexp.tracking import spool
from gdexp.tracking.patience import Attempt, patiently
from gdexp.tracking.run_record import RunRecord
from gdexp.tracking.store import Store

RETRY, RAREST = 5.0, 60.0  # seconds between attempts, doubled each time up to the second
RECENT = 2.0  # seconds: an attempt at the end is left out if the last one has just failed

T = TypeVar("T")


@dataclass
class Delivered:
    """What became of spooled records.

    Attributes:
        ids: the store's id of each run that was delivered, by its key.
        names: the names of these runs.
        left: the files that are still in the spool, and why.
        is_busy: whether another process is delivering them.
    """

    ids: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    left: dict[Path, str] = field(default_factory=dict)
    is_busy: bool = False


def deliver(store: Store, place: Path, seconds: float = 0.0) -> Delivered:
    """Write what is spooled for a store, in order, and remove it from the spool.

    Records that the store has already, since a process died before it could remove them, change
    nothing. A file that cannot be delivered is left, with all later ones of its runs.

    Args:
        store: the store.
        place: the folder of the spool.
        seconds: how long to wait for another process that is delivering.
    """
    done, stuck = Delivered(), set[str]()
    with spool.exclusive(place, seconds) as is_ours:
        if not is_ours:
            done.is_busy = True
            return done
        paths = spool.files_for(place, store.uri, store.experiment)
        for number, path in enumerate(paths):
            try:
                records = _readable(path, stuck)
                if records is not None:
                    _write_again(store, records, stuck, done)
                    path.unlink()
            except (ValueError, RefusedError) as error:
                done.left[path] = brief(error)
            except Exception as error:
                done.left |= dict.fromkeys(paths[number:], brief(error))
                break
    return done


def _readable(path: Path, stuck: set[str]) -> Sequence[RunRecord] | None:
    """The records of a file; None if it has been delivered by now.

    Raises:
        ValueError: it is damaged, or an earlier record of one of its runs is stuck.
    """
    try:
        records = spool.read(path).records
    except ValueError:
        if not path.exists():
            return None
        raise
    if any(record.run_id in stuck for record in records):
        raise ValueError("an earlier file of the same run is left")
    return records


def _write_again(
    store: Store, records: Sequence[RunRecord], stuck: set[str], done: Delivered
) -> None:
    try:
        ids = store.write(records, again=True)
    except RefusedError:
        stuck.update(record.run_id for record in records)
        raise
    for record, run_id in zip(records, ids, strict=True):
        done.ids[record.run_id], done.names[record.run_id] = run_id, record.name


def deliver_rest(store: Store) -> None:
    """Deliver what earlier commands have spooled for a store that has just been opened."""
    place = spool.folder()
    if not place.exists() or not spool.files_for(place, store.uri, store.experiment):
        return
    try:
        done = patiently(partial(deliver, store, place), store.uri)
    except TimeoutError:
        return
    where = relative(place)
    parts = [f"delivered {counted(len(done.ids), 'run')} from {where}"] if done.ids else []
    if done.left:
        parts.append(f"{counted(len(done.left), 'file')} left in {where}: see python -m gdexp sync")
    if parts:
        say("; ".join(parts))


def first_step(uri: str, experiment: str) -> str:
    """What to do about a store that has no runs."""
    if files := spool.files_for(spool.folder(), uri, experiment):
        return f"python -m gdexp sync delivers what {relative(files[0].parent)} keeps for it"
    return "run python -m gdexp first"


class Delivery:
    """Writes records to a store; spools them for as long as the store cannot be written.

    Once something is spooled, later records queue behind it. The store is tried again in the
    background, ever more rarely, so that the loop loses a few seconds only once.

    Args:
        store: the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._place = spool.folder()
        self._kept: dict[Path, list[str]] = {}  # the keys of the runs in each of our files
        self._ids: dict[str, str] = {}  # of runs in the store, by key
        self._lock = threading.RLock()
        self._attempt: Attempt[Delivered] | None = None
        self._pause, self._failed = RETRY, 0.0
        self._is_told = False

    @property
    def is_pending(self) -> bool:
        """Whether something of this process is in the spool."""
        with self._lock:
            if self._kept:
                self._kept = {path: keys for path, keys in self._kept.items() if path.exists()}
            return bool(self._kept)

    def is_kept(self, key: str) -> bool:
        """Whether something of this run is in the spool."""
        return self.is_pending and any(key in keys for keys in self._kept.values())

    def id_of(self, key: str) -> str:
        """The store's id of a run, or its key for as long as the store has not told it."""
        return self._ids.get(key, key)

    def write(self, records: Sequence[RunRecord]) -> list[str]:
        """Write records, or spool them.

        Returns:
            The ids of the runs: their keys, where the store has not told them yet.

        Raises:
            RefusedError: the store refuses a run.
            WriteError: neither the store nor the spool can be written.
        """
        with self._lock:
            keys = [record.run_id for record in records]
            if self.is_pending:
                self._keep(records, WriteError("earlier records are waiting"))
                self._retry()
            else:
                try:
                    ids = patiently(partial(self._store.write, records), self._store.uri)
                    self._ids |= {key: i for key, i in zip(keys, ids, strict=True) if i != key}
                except RefusedError:
                    self._store.give_up(records)
                    raise
                except (WriteError, TimeoutError) as error:
                    self._keep(records, error)
            return [self.id_of(key) for key in keys]

    def _keep(self, records: Sequence[RunRecord], error: Exception) -> None:
        try:
            path = spool.save(self._place, self._store.uri, self._store.experiment, records)
        except OSError as another:
            if not isinstance(error, TimeoutError):
                self._store.give_up(records)
            raise WriteError(
                f"{brief(error)}, and {relative(self._place)} cannot be written either: "
                f"{cause(another)}."
            ) from error
        self._kept[path] = [record.run_id for record in records]
        if len(self._kept) == 1:
            self._failed = time.monotonic()
        if not self._is_told:
            self._is_told = True
            report_kept(self._place, cause(error))

    def _retry(self) -> None:
        """Try to deliver in the background, if the last attempt was a while ago."""
        is_under_way = self._attempt is not None and self._attempt.is_alive()
        if not is_under_way and time.monotonic() > self._failed + self._pause:
            self._pause = min(2 * self._pause, RAREST)
            self._attempt = Attempt(self._deliver, self._store.uri)

    def _deliver(self) -> Delivered:
        done = deliver(self._store, self._place)
        self._failed = time.monotonic()
        self._ids |= done.ids
        return done

    def finish(self) -> None:
        """Try once more, for a few seconds, to deliver what is in the spool."""
        if not self.is_pending:
            return
        attempt = self._attempt
        if attempt is None or not attempt.is_alive():
            if time.monotonic() < self._failed + RECENT:
                return
            attempt = self._attempt = Attempt(self._deliver, self._store.uri)
        with suppress(Exception):  # what is not delivered stays in the spool
            attempt.wait()

    def read(self, action: Callable[[], T]) -> T | None:
        """What an action reads from the store; None if the store does not answer."""
        if self.is_pending:
            return None
        try:
            return patiently(action, self._store.uri)
        except Exception:
            return None


_deliveries: dict[int, Delivery] = {}


def of(store: Store) -> Delivery:
    """The delivery of a store, one for all that this process writes to it."""
    if id(store) not in _deliveries:
        _deliveries[id(store)] = Delivery(store)
    return _deliveries[id(store)]
