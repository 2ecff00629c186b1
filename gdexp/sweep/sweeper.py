"""Runs a sweep: lists its jobs, resumes, launches and summarises it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, read_write
from omegaconf.errors import OmegaConfBaseException

from gdexp.config import schema
from gdexp.config.job import Job
from gdexp.config.paths import absolute, check_writable
from gdexp.console import say
from gdexp.descent.signals import exposed
from gdexp.errors import ConfigError, RunFailedError, counted
from gdexp.experiment import continued
from gdexp.sweep import grids
from gdexp.sweep.budget import within_budget
from gdexp.sweep.ending import ending
from gdexp.sweep.folders import claim_sweep
from gdexp.sweep.jobs import planned
from gdexp.sweep.progress import Tally, epochs_of
from gdexp.sweep.workers.launched import ended
from gdexp.tracking.tags import SWEEP_DIR

if TYPE_CHECKING:
    from gdexp.sweep.summary import Summary
    from gdexp.tracking.store import Store

LISTED = 20  # jobs shown by a dry run


def check_sweeper(sweeper: DictConfig) -> None:
    """Check the settings of the node ``hydra.sweeper``.

    Raises:
        ConfigError: max_batch_size is out of range.
    """
    key = "max_batch_size"
    schema.check(f"hydra.sweeper.{key}", sweeper.get(key), Annotated[int | None, Ge(1)])


def sweep(sweeper: Any, arguments: Sequence[str]) -> list[Sequence[JobReturn]]:
    """Run every job of a multirun that is not done yet.

    Args:
        sweeper: Hydra's sweeper object, set up.
        arguments: the overrides, including axes.

    Raises:
        ConfigError: a grid, or the sweep to resume, is refused.
        StoreError: the store cannot be used.
        RunFailedError: at least one run failed; each failure has been reported.
    """
    config: DictConfig = sweeper.config
    loader = sweeper.hydra_context.config_loader
    typed = [f"{key}={value}" for key, value in (sweeper.params or {}).items()] + list(arguments)
    overrides = listed(config, loader, typed)
    if config.sweep.dry_run:
        return _list(overrides)
    if config.sweep.resume:
        _use_former_folder(config)
    _check_sweep_id(str(config.hydra.sweep.dir))
    jobs = [continued(job) for job in planned(config, loader, overrides)]
    jobs = within_budget(jobs, config.tracking)
    with _exclusive_lock(absolute(config.hydra.sweep.dir)):
        return _run(sweeper.launcher, config, typed, jobs)


def listed(config: DictConfig, loader: Any, typed: Sequence[str]) -> list[tuple[str, ...]]:
    """The overrides of each job of a multirun.

    Args:
        config: its configuration, including Hydra's node.
        loader: Hydra's configuration loader.
        typed: the overrides, including axes.

    Raises:
        ConfigError: the grid is refused.
    """
    choice = config.hydra.runtime.choices.sweep
    return grids.jobs(typed, config.sweep, choice, first_seed(config), loader=loader)


def first_seed(config: DictConfig) -> int | None:
    """The seed, from which sweep.repeat counts; None if it depends on the job's number."""
    try:
        return int(config.seed)
    except OmegaConfBaseException:  # as of ${hydra:job.num}
        return None


def _list(overrides: Sequence[Sequence[str]]) -> list[Sequence[JobReturn]]:
    """Print the jobs of a dry run."""
    for number, texts in enumerate(overrides[:LISTED]):
        print(f"#{number} {' '.join(texts) or 'defaults'}")
    more = len(overrides) - LISTED
    print(f"{f'... and {more} more: ' if more > 0 else ''}{counted(len(overrides), 'run')}")
    return []


def _use_former_folder(config: DictConfig) -> None:
    """Use the folder of the sweep that is resumed, whose name is the sweep's id."""
    if not config.tracking.enabled:
        raise ConfigError("sweep.resume: with tracking=off, no earlier sweep can be looked up.")
    from gdexp.sweep import resume
    from gdexp.tracking.connect import connect

    summary = resume.find(connect(config.tracking), config.sweep.resume)
    former = summary.tags[SWEEP_DIR]
    check_writable(absolute(former), "sweep.resume")
    quoted = QuotedString(former, Quote.single).with_quotes()
    with read_write(config):
        config.hydra.sweep.dir = former
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted}")


def _check_sweep_id(folder: str) -> None:
    """Refuse a folder whose name cannot be searched for in MLflow: it is the sweep's id."""
    name = Path(folder).name
    if name in ("", "..") or "'" in name:
        raise ConfigError(
            f"hydra.sweep.dir={folder}: the folder's name is the sweep's id, so it must be a name "
            "without an apostrophe, as in hydra.sweep.dir=outputs/mine."
        )


@contextmanager
def _exclusive_lock(folder: Path) -> Iterator[None]:
    """Lock the sweep's folder, so that a running sweep cannot be resumed."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise ConfigError(f"sweep.resume: {folder.name} is still running.") from error


def _run(
    launcher: Any, config: DictConfig, typed: Sequence[str], jobs: Sequence[Job]
) -> list[Sequence[JobReturn]]:
    """Run the jobs; if they are recorded, open the summary run before and close it after."""
    if not config.tracking.enabled:
        claim_sweep(config)
        return _launch(launcher, config, jobs, Tally(len(jobs), epochs_of(jobs), summarised=False))
    from gdexp.sweep.summary import Summary
    from gdexp.tracking.connect import connect

    store = connect(config.tracking)
    words = [text for text in typed if not text.startswith("sweep.resume=")]
    summary = Summary(store, words, jobs, config.hydra.sweep.dir)
    tally = Tally(len(jobs), epochs_of(jobs))

    def close(status: str) -> None:
        if summary.run_id is not None:
            say(f"sweep {summary.sweep_id}: {summary.close(tally.rows, status)}")

    with ending(close):
        todo = _open(store, config, summary)
        tally = Tally(len(todo), epochs_of(todo))
        with exposed():
            claim_sweep(config)
            return _launch(launcher, config, todo, tally)


def _open(store: Store, config: DictConfig, summary: Summary) -> Sequence[Job]:
    """Open the summary run, and return the jobs to run."""
    from gdexp.sweep import resume
    from gdexp.sweep.shards import exchange
    from gdexp.tracking.delivery import deliver_rest

    todo = summary.jobs
    if config.sweep.resume:
        exchange.check_ended(absolute(config.hydra.sweep.dir) / exchange.NAME, summary.sweep_id)
        deliver_rest(store)  # of tasks that have ended since
        former = resume.find(store, summary.sweep_id)
        resume.check_unchanged(store, former, summary.jobs)
        done = resume.settle(store, summary.sweep_id)
        todo = [job for job in summary.jobs if job.number not in done]
        say(f"{len(done)} finished, {len(todo)} to run")
        summary.reopen(former)
    else:
        summary.open()
    if config.sweep.skip_finished:
        hashes = resume.finished_hashes(store)
        kept = [job for job in todo if job.config_hash not in hashes]
        say(f"{len(todo) - len(kept)} taken over from finished runs, {len(kept)} to run")
        todo = kept
    return todo


def _stretches(
    todo: Sequence[Job], config: DictConfig, *, together: bool
) -> Iterator[Sequence[Job]]:
    """Split jobs into those that are launched at once: at most hydra.sweeper.max_batch_size.

    Unless the launcher takes them together, their numbers are consecutive.
    """
    numbered = enumerate(todo)
    groups = groupby(numbered, key=lambda pair: together or (pair[1].number or 0) - pair[0])
    size = config.hydra.sweeper.max_batch_size or max(1, len(todo))
    for _, group in groups:
        stretch = [job for _, job in group]
        yield from (stretch[i : i + size] for i in range(0, len(stretch), size))


def _launch(
    launcher: Any, config: DictConfig, todo: Sequence[Job], tally: Tally
) -> list[Sequence[JobReturn]]:
    """Launch the jobs: as they are with our launcher, as overrides with another.

    Another launcher numbers its jobs consecutively from a first number, so it is called once for
    each stretch of consecutive numbers.
    """
    if todo:
        say(f"{counted(len(todo), 'run')} in {config.hydra.sweep.dir}")
    returns: list[Sequence[JobReturn]] = []
    try:
        for jobs in _stretches(todo, config, together=hasattr(launcher, "launch_jobs")):
            if hasattr(launcher, "launch_jobs"):
                returns.append(launcher.launch_jobs(jobs, tally))
            else:
                first = jobs[0].number or 0
                with ended():
                    returned = launcher.launch([list(job.typed) for job in jobs], first)
                returns.append(returned)
                for job, one in zip(jobs, returned, strict=False):
                    tally.ended(job, one)
            if config.sweep.on_error == "stop" and tally.failures:
                break
    finally:
        tally.close()
    if tally.failures:
        raise RunFailedError(f"{counted(len(tally.failures), 'run')} failed")
    return returns
