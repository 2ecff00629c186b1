"""Running experiments and sweeps from Python, as :func:`gdexp.run` and :func:`gdexp.sweep` do."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from gdexp.config import validation
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.config.passwords import of_words
from gdexp.credentials import VARIABLE
from gdexp.descent.result import Result
from gdexp.descent.signals import handled
from gdexp.errors import ConfigError, GdexpError, RunFailedError, first_line
from gdexp.experiment import prepare, run

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd
    from omegaconf import DictConfig

    from gdexp.insight.pictures.files import Pictures


def _plot(result: Result, out: str | None = None, *, replace: bool = False) -> Pictures:
    from gdexp.insight.pictures.files import plot

    return plot(result, out, replace=replace)


Result.draw = staticmethod(_plot)

QUIET = ("hydra/job_logging=none", "hydra/hydra_logging=none")  # the caller's logging stays


def run_overrides(typed: Sequence[str], config_dir: str | PathLike[str] | None) -> Result:
    """Compose, check and run overrides; see :func:`gdexp.run`."""
    typed = of_words(typed)
    with handled():
        with session():
            job = composed_job(typed, Composer(config_dir))
        return run(prepare(job))


def composed_job(typed: Sequence[str], composer: Composer) -> Job:
    """Compose the run of these overrides, and check what building it does not.

    Raises:
        ConfigError: an override is invalid.
    """
    with _explained(typed, composer, multirun=False):
        job = Job.of(composer.compose(typed), typed)
        doubt = validation.needs_full_check(job)
    if doubt:
        _check(typed, composer, multirun=False)
    return job


def sweep_overrides(typed: Sequence[str], config_dir: str | PathLike[str] | None) -> pd.DataFrame:
    """Compose, check and run a sweep; see :func:`gdexp.sweep`.

    Hydra has one state for all threads, so a sweep in another thread waits for this one.
    """
    from gdexp.commands.table import Kept
    from gdexp.console import silent
    from gdexp.sweep.progress import observed

    kept, typed = Kept(), of_words(typed)
    with handled(), session(), silent(), observed(kept.keep):
        composer = Composer(config_dir)
        job = _check(typed, composer, multirun=True)
        with _explained(typed, composer, multirun=True):
            config = composer.compose_sweep([*QUIET, *typed])
        try:
            _sweep(config, job)
        except RunFailedError as error:
            raise kept.failure() or error from None
        return kept.table(config)


def _sweep(config: DictConfig, first: Job) -> None:
    """Run a sweep that has been checked, as Hydra's multirun does."""
    from hydra._internal.callbacks import Callbacks

    from gdexp.commands.start import check_sweep, run_sweep
    from gdexp.sweep import best
    from gdexp.sweep.shards.executor import cluster

    check_sweep(config, first)
    target = str(config.hydra.launcher._target_)
    brings_results = target.endswith((".VectorizedLauncher", ".BasicLauncher"))
    if not (config.tracking.enabled or brings_results or cluster(config.hydra.launcher)):
        name = config.hydra.runtime.choices["hydra/launcher"]
        raise ConfigError(
            f"hydra/launcher={name}: it computes runs in other processes, and with tracking=off "
            "their results are lost. Leave one of them out."
        )
    if target.endswith(".JoblibLauncher"):
        _renew_workers()
    prepare(first)
    try:
        run_sweep(config, Callbacks(config))
    finally:
        best.taken()  # the table reports them


def _renew_workers() -> None:
    """Stop idle workers that joblib kept from an earlier sweep: they lack passwords given since."""
    if VARIABLE in os.environ:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor(reuse=True).shutdown(wait=True)


@contextmanager
def _explained(typed: Sequence[str], composer: Composer, *, multirun: bool) -> Iterator[None]:
    """Raise what Hydra raises in our words, or else as its own first lines."""
    try:
        yield
    except GdexpError:
        raise
    except (HydraException, OmegaConfBaseException, ValueError, AssertionError) as error:
        _check(typed, composer, multirun=multirun)
        causes = [first_line(e) for e in (error, error.__cause__) if e is not None]
        raise ConfigError(": ".join(causes)) from None


def _check(typed: Sequence[str], composer: Composer, *, multirun: bool) -> Job:
    """The full check of :mod:`gdexp.preflight`, whose errors need no other error as context."""
    from gdexp import preflight  # imports the sweep code, which a valid run does not need

    try:
        return preflight.check(typed, composer, multirun=multirun)
    except GdexpError as error:
        raise error from None
