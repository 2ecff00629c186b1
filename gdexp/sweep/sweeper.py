"""A sweep from its command to its summary: listed, resumed, launched and closed."""

from __future__ import annotations

import time
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
from gdexp.descent.signals import shielded
from gdexp.errors import ConfigError, RunFailedError
from gdexp.sweep import grids
from gdexp.sweep.launcher import plan
from gdexp.sweep.progress import Tally

if TYPE_CHECKING:
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
    maker = plan(config, loader)
    if config.sweep.resume:
        _return_to(config)
    sweep_id = _sweep_id(config)
    jobs = [maker.job(texts, sweep_id, number) for number, texts in enumerate(overrides)]
    with _recorded(config, typed, jobs) as (todo, tally):
        _save(config, absolute(config.hydra.sweep.dir))
        say(f"{len(todo)} runs in {config.hydra.sweep.dir}")
        return _launch(sweeper.launcher, todo, tally, stop=config.sweep.on_error == "stop")


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
    from gdexp.tracking.store import connect

    summary = resume.find(connect(config.tracking), config.sweep.resume)
    former = summary.data.tags["gdexp.sweep_dir"]
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
def _recorded(
    config: DictConfig, typed: Sequence[str], jobs: list[Job]
) -> Iterator[tuple[list[Job], Tally]]:
    """The jobs that are still to do and their tally, within the sweep's summary run."""
    if not config.tracking.enabled:
        yield jobs, Tally(len(jobs))
        return
    from gdexp.sweep import summary
    from gdexp.tracking.store import connect

    store = connect(config.tracking)
    words = [text for text in typed if not text.startswith("sweep.resume=")]
    started, status, sweep_id = time.time(), "FAILED", str(jobs[0].sweep_id)
    with _alone(absolute(config.hydra.sweep.dir)):
        run_id, todo = _open(store, config, words, jobs)
        tally = Tally(len(todo))
        try:
            yield todo, tally
            status = "FINISHED"
        except RunFailedError:
            status = "FINISHED"
            raise
        except BaseException as error:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            raise
        finally:
            command, seconds = " ".join(["python -m gdexp -m", *words]), time.time() - started
            with shielded():
                table = summary.table_of(store, sweep_id, tally.rows, len(jobs))
                text = summary.close(store, run_id, table, command, status, seconds)
            say(f"sweep {sweep_id}: {text}, in {seconds:.1f} s")


def _open(
    store: Store, config: DictConfig, typed: Sequence[str], jobs: list[Job]
) -> tuple[str, list[Job]]:
    """The summary run's id, and the jobs still to do."""
    from gdexp.sweep import resume

    sweep_id = str(jobs[0].sweep_id)
    todo = jobs
    if config.sweep.resume:
        summary = resume.find(store, sweep_id)
        resume.check_unchanged(store, summary, jobs)
        done = resume.settle(store, sweep_id)
        todo = [job for job in jobs if job.number not in done]
        say(f"{len(done)} finished, {len(todo)} to run")
        run_id = resume.reopen(store, summary)
    else:
        with shielded():
            run_id = resume.begin(store, config.hydra.sweep.dir, typed, jobs)
    if config.sweep.skip_finished:
        hashes = resume.finished_hashes(store)
        kept = [job for job in todo if job.config_hash not in hashes]
        say(f"{len(todo) - len(kept)} taken over from finished runs, {len(kept)} to run")
        todo = kept
    return run_id, todo


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


def _save(config: DictConfig, folder: Path) -> None:
    """Hydra's record of a multirun; a resumed one keeps the first."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "multirun.yaml").exists():
        OmegaConf.save(config, folder / "multirun.yaml")


def _launch(
    launcher: Any, todo: Sequence[Job], tally: Tally, *, stop: bool
) -> list[Sequence[JobReturn]]:
    """Hand the jobs over, in stretches of consecutive numbers."""
    is_ours = hasattr(launcher, "tally")
    launcher.tally = tally
    launcher.planned = {job.number: job for job in todo}
    returns: list[Sequence[JobReturn]] = []
    try:
        for _, group in groupby(enumerate(todo), key=lambda pair: (pair[1].number or 0) - pair[0]):
            stretch = [job for _, job in group]
            first = stretch[0].number or 0
            returned = launcher.launch([list(job.typed) for job in stretch], first)
            returns.append(returned)
            for job, one in zip(stretch, () if is_ours else returned, strict=False):
                tally.ended(job, one)
            if stop and any(one.status.name == "FAILED" for one in returned):
                break
    finally:
        getattr(launcher, "close", tuple)()  # ours may have processes to end
        tally.close()
    _count_failures(returns, tally)
    return returns


def _count_failures(returns: Sequence[Sequence[JobReturn]], tally: Tally) -> None:
    failed = sum(r.status.name == "FAILED" for group in returns for r in group)
    if failed or tally.failures:
        raise RunFailedError(f"{failed} runs failed")
