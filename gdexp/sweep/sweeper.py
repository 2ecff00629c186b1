"""A sweep from its command to its summary: listed, resumed, launched and closed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf, read_write

from gdexp.config.job import Job
from gdexp.config.paths import absolute, check_writable
from gdexp.console import say
from gdexp.descent.signals import exposed, shielded
from gdexp.errors import ConfigError, RunFailedError
from gdexp.sweep import grids
from gdexp.sweep.launcher import planner
from gdexp.sweep.progress import Tally

if TYPE_CHECKING:
    from gdexp.sweep.summary import Summary
    from gdexp.tracking.store import Store

LISTED = 20  # jobs that a dry run shows


def sweep(sweeper: Any, arguments: Sequence[str]) -> list[Sequence[JobReturn]]:
    """Run every job of a multirun that is still to do.

    Args:
        sweeper: Hydra's sweeper object, set up.
        arguments: the overrides, axes included.

    Raises:
        ConfigError: a grid, or the sweep to resume, is refused.
        StoreError: the store cannot be used.
        RunFailedError: at least one run failed; all have been reported.
    """
    config: DictConfig = sweeper.config
    loader = sweeper.hydra_context.config_loader
    typed = [f"{key}={value}" for key, value in (sweeper.params or {}).items()] + list(arguments)
    choice = config.hydra.runtime.choices.sweep
    overrides = grids.jobs(typed, config.sweep, choice, config.seed, loader=loader)
    if config.sweep.dry_run:
        return _list(overrides)
    plan = planner(config, loader)
    if config.sweep.resume:
        _return_to(config)
    sweep_id = _sweep_id(config)
    jobs = [plan.job(texts, sweep_id, number) for number, texts in enumerate(overrides)]
    with _alone(absolute(config.hydra.sweep.dir)):
        return _run(sweeper.launcher, config, typed, jobs)


def _list(overrides: Sequence[Sequence[str]]) -> list[Sequence[JobReturn]]:
    """What a dry run says."""
    for number, texts in enumerate(overrides[:LISTED]):
        print(f"#{number} {' '.join(texts) or 'defaults'}")
    more = len(overrides) - LISTED
    print(f"{f'... and {more} more: ' if more > 0 else ''}{len(overrides)} runs")
    return []


def _return_to(config: DictConfig) -> None:
    """Make a resumed sweep's folder, whose name is its id, this sweep's folder."""
    if not config.tracking.enabled:
        raise ConfigError("sweep.resume: with tracking=off nothing is known of an earlier sweep.")
    from gdexp.sweep import resume
    from gdexp.tracking.connect import connect

    summary = resume.find(connect(config.tracking), config.sweep.resume)
    former = summary.tags["gdexp.sweep_dir"]
    check_writable(absolute(former), "sweep.resume")
    quoted = QuotedString(former, Quote.single).with_quotes()
    with read_write(config):
        config.hydra.sweep.dir = former
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted}")


def _sweep_id(config: DictConfig) -> str:
    """The name of the sweep's folder, by which its runs are found again.

    Raises:
        ConfigError: MLflow could not search for it.
    """
    folder = str(config.hydra.sweep.dir)
    name = Path(folder).name
    if name in ("", "..") or "'" in name:
        raise ConfigError(
            f"hydra.sweep.dir={folder}: the folder's name is the sweep's id, so it is a name "
            "without an apostrophe, as in hydra.sweep.dir=outputs/mine."
        )
    return name


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the sweep's folder, so that no one resumes a sweep that is still running."""
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
    """Run the jobs, within the sweep's summary run if they are recorded."""
    if not config.tracking.enabled:
        _save(config)
        return _launch(launcher, config, jobs, Tally(len(jobs)))
    from gdexp.sweep.summary import Summary
    from gdexp.tracking.connect import connect

    store = connect(config.tracking)
    words = [text for text in typed if not text.startswith("sweep.resume=")]
    summary = Summary(store, words, jobs, config.hydra.sweep.dir)
    tally, status = Tally(len(jobs)), "FAILED"
    with shielded():  # whatever happens below, the summary is closed
        try:
            todo = _open(store, config, summary)
            tally = Tally(len(todo))
            with exposed():
                _save(config)
                returns = _launch(launcher, config, todo, tally)
            status = "FINISHED"
            return returns
        except BaseException as error:
            is_signal = isinstance(error, KeyboardInterrupt)
            status = "KILLED" if is_signal else status
            status = "FINISHED" if isinstance(error, RunFailedError) else status
            raise
        finally:
            if summary.run_id is not None:
                say(f"sweep {summary.sweep_id}: {summary.close(tally.rows, status)}")


def _open(store: Store, config: DictConfig, summary: Summary) -> Sequence[Job]:
    """Open the summary run; the jobs still to do."""
    from gdexp.sweep import resume

    todo = summary.jobs
    if config.sweep.resume:
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


def _save(config: DictConfig) -> None:
    """Hydra's record of a multirun; a resumed one keeps the first."""
    folder = absolute(config.hydra.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "multirun.yaml").exists():
        OmegaConf.save(config, folder / "multirun.yaml")


def _launch(
    launcher: Any, config: DictConfig, todo: Sequence[Job], tally: Tally
) -> list[Sequence[JobReturn]]:
    """Hand the jobs over: to our launcher as they are, to another as overrides.

    Another launcher numbers what it is given from a first number on, so it gets them in stretches
    of consecutive numbers.
    """
    say(f"{len(todo)} runs in {config.hydra.sweep.dir}")
    returns: list[Sequence[JobReturn]] = []
    try:
        if hasattr(launcher, "launch_jobs"):
            if todo:
                returns.append(launcher.launch_jobs(todo, tally))
        else:
            for _, group in groupby(
                enumerate(todo), key=lambda pair: (pair[1].number or 0) - pair[0]
            ):
                stretch = [job for _, job in group]
                first = stretch[0].number or 0
                returned = launcher.launch([list(job.typed) for job in stretch], first)
                returns.append(returned)
                for job, one in zip(stretch, returned, strict=False):
                    tally.ended(job, one)
                failed = any(one.status.name == "FAILED" for one in returned)
                if config.sweep.on_error == "stop" and failed:
                    break
    finally:
        tally.close()
    _count_failures(returns, tally)
    return returns


def _count_failures(returns: Sequence[Sequence[JobReturn]], tally: Tally) -> None:
    failed = sum(r.status.name == "FAILED" for group in returns for r in group)
    if failed or tally.failures:
        raise RunFailedError(f"{failed} runs failed")
