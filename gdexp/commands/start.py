"""Starts a run or a sweep: composes it, checks it, and only then lets Hydra run it.

The check is a plain call between composing and running. As one of Hydra's callbacks it could be
removed by a setting, and Hydra would turn its exceptions into warnings and run all the same.
"""

from __future__ import annotations

import functools
import sys
from argparse import Namespace
from pathlib import Path

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log, run_job
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from gdexp import experiment
from gdexp.config import validation
from gdexp.config.compose import Composer, composing, session, stamp
from gdexp.config.folders import ROOT
from gdexp.config.job import Job
from gdexp.config.overrides import typed
from gdexp.config.paths import absolute, check_writable, started_in
from gdexp.console import log_settings, print_traceback, report_job
from gdexp.descent.signals import in_worker
from gdexp.errors import ConfigError, GdexpError, RunFailedError, brief
from gdexp.experiment import Ready
from gdexp.sweep import folders, generations
from gdexp.sweep.jobs import set_folder


def start(args: Namespace) -> bool:
    """Start what the command line asks for.

    Returns:
        Whether it was a sweep whose runs are recorded.

    Raises:
        ConfigError: the input is invalid; nothing was started.
        HydraException: as for ConfigError, in Hydra's words.
        RunFailedError: a run failed and has been reported.
    """
    stamp.cache_clear()  # the folder is this command's
    with session(args.config_dir):
        with composing():
            config = composed(args)
        if config.hydra.mode is RunMode.MULTIRUN:
            return _sweep(config)
        _run(config)
        return False


def composed(args: Namespace) -> DictConfig:
    """The configuration, in the mode that was typed or that a YAML file sets."""
    composer = GlobalHydra.instance().hydra
    assert composer is not None
    root = args.config_name or ROOT
    compose = functools.partial(composer.compose_config, root, with_log_configuration=False)
    if not args.multirun:
        try:
            config = compose(args.overrides, RunMode.RUN)
        except HydraException as error:
            is_sweep = "--multirun" in str(error)  # lr=0.1,0.2
            if not is_sweep or composer.get_mode(root, args.overrides) is not RunMode.MULTIRUN:
                raise
        else:
            if config.hydra.mode is not RunMode.MULTIRUN:
                config.hydra.mode = RunMode.RUN
                return config
    return compose([*args.overrides, "hydra.mode=MULTIRUN"], RunMode.MULTIRUN)


def _run(config: DictConfig) -> None:
    ready = _checked(config)
    callbacks, root = Callbacks(config), config.hydra.job.config_name
    if config.hydra.output_subdir is not None:
        folders.claim(_files(config), "hydra.run.dir")
    callbacks.on_run_start(config=config, config_name=root)
    loader = GlobalHydra.instance().config_loader()
    returned = run_job(
        hydra_context=HydraContext(config_loader=loader, callbacks=callbacks),
        task_function=functools.partial(run_checked, checked=ready),
        config=config,
        job_dir_key="hydra.run.dir",
        job_subdir_key=None,
    )
    callbacks.on_run_end(config=config, config_name=root, job_return=returned)
    _ = returned.return_value  # raises what the job raised


def _checked(config: DictConfig) -> Ready:
    """Check and build the run of a configuration."""
    _configure_log(config, "job_logging")
    job = checked_job(config)
    check_writable(absolute(config.hydra.run.dir), "outputs")
    if config.hydra.output_subdir is not None:
        folders.check_unused(_files(config), "hydra.run.dir")
    return experiment.prepare(job)


def checked_job(config: DictConfig) -> Job:
    """The run of a configuration, of which all has been checked that building it does not reveal.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """
    try:
        set_folder(config)
        job = Job.of(config, typed(config))
        doubt = validation.needs_full_check(job)
    except (OmegaConfBaseException, KeyError):  # a setting that every run needs was removed
        doubt = True
    if doubt or typed(config, "hydra") or config.hydra.job.config_name != ROOT:
        check(config, multirun=False)
        job = Job.of(config, typed(config))
    return job


def _configure_log(config: DictConfig, name: str) -> None:
    """Configure Python's logging before a folder is made; a log file needs Hydra's, so not then."""
    settings = config.hydra[name]
    if settings is None or (name == "job_logging" and "filename" in str(settings)):
        return
    try:
        configure_log(settings, config.hydra.verbose)
    except AssertionError:  # of hydra.verbose, which the check refuses
        return
    except Exception as error:  # logging checks nothing itself
        raise ConfigError(f"hydra.{name}: Python's logging refuses it: {brief(error)}.") from error


def _files(config: DictConfig) -> Path:
    """The folder of the files that Hydra writes for a run."""
    return absolute(config.hydra.run.dir) / str(config.hydra.output_subdir)


def _sweep(config: DictConfig) -> bool:
    from gdexp.sweep import best

    for name in ("job_logging", "hydra_logging"):
        _configure_log(config, name)
    first = check(config, multirun=True)
    check_sweep(config, first)
    log_settings(first, experiment.place(experiment.prepare(first).store))
    callbacks, root = Callbacks(config), config.hydra.job.config_name
    callbacks.on_multirun_start(config=config, config_name=root)
    run_sweep(config, callbacks)
    callbacks.on_multirun_end(config=config, config_name=root)
    best.report()
    return bool(config.tracking.enabled and not config.sweep.dry_run)


def check(config: DictConfig, *, multirun: bool) -> Job:
    """The full check of :mod:`gdexp.preflight`; returns the run, or the first of the sweep.

    Raises:
        ConfigError: a job is invalid.
    """
    from gdexp import preflight

    composer = Composer(root=config.hydra.job.config_name)
    words = [*typed(config, "hydra"), *typed(config)]
    return preflight.check(words, composer, multirun=multirun)


def check_sweep(config: DictConfig, first: Job) -> None:
    """Check the settings of the sweeper, the launcher and the folder of a sweep, by its first run.

    Raises:
        ConfigError: one of them is out of range, or the folder is another sweep's.
        StoreError: the folder cannot be written.
    """
    from gdexp.sweep.required import check_required
    from gdexp.sweep.shards import executor
    from gdexp.sweep.sweeper import check_sweeper
    from gdexp.sweep.workers.engines import check_engine

    check_sweeper(config.hydra.sweeper)
    check_engine(config.hydra.launcher)
    if not config.sweep.dry_run:
        executor.check(config.hydra.launcher, config.hydra.sweep.dir)
    check_writable(absolute(config.hydra.sweep.dir), "outputs")
    generations.check(config)
    folders.check_sweep(config)
    check_required(config, GlobalHydra.instance().config_loader(), typed(config), first)


def run_sweep(config: DictConfig, callbacks: Callbacks) -> None:
    """Run a sweep that has been checked, as Hydra's multirun does.

    Args:
        config: the sweep's configuration, including Hydra's node.
        callbacks: those that are called for each job.

    Raises:
        RunFailedError: a run failed and has been reported.
    """
    from hydra.core.plugins import Plugins

    from gdexp.sweep import foreign
    from gdexp.sweep.shards import executor

    generations.resize(config)
    sweeper = Plugins.instance().instantiate_sweeper(
        hydra_context=HydraContext(GlobalHydra.instance().config_loader(), callbacks),
        task_function=run_checked,
        config=config,
    )
    if executor.cluster(config.hydra.launcher):
        from gdexp.sweep.shards.launch import sharded

        sharded(sweeper)
    with foreign.summarised():
        if not str(config.hydra.sweeper._target_).endswith(".GridSweeper"):
            folders.claim_sweep(config)  # that one does so itself, under a lock
        foreign.open_summary(config)
        sweeper.sweep(typed(config))


@in_worker()
def run_checked(cfg: DictConfig, checked: Ready | None = None) -> float | None:
    """Run one job, as Hydra's task function.

    Args:
        cfg: its configuration, without Hydra's node.
        checked: the run that was checked and built; it is not built again if it is this job's.

    Returns:
        The final loss, which a sweeper like Optuna minimises.
    """
    hydra_config = HydraConfig.get()
    with open_dict(cfg):
        cfg.hydra = hydra_config
    job = Job.of(cfg, typed(cfg))
    with started_in(hydra_config.runtime.cwd):
        is_checked = checked is not None and checked.asked == job
        ready = checked if checked is not None and is_checked else experiment.prepare(job)
        place = experiment.place(ready.store)
        log_settings(job, place)
        try:
            result = experiment.run(ready, sys.stdout if job.number is None else None)
        except GdexpError:
            raise
        except Exception as error:
            print_traceback(error)
            raise RunFailedError(str(error)) from error
        report_job(ready.job, result, place)
    return result.loss if result.trajectory.length else None


# Hydra passes this function to launchers; the mark tells ours that it may vectorize the jobs.
setattr(run_checked, "runs_a_gdexp_job", True)  # noqa: B010  (mypy knows no such attribute)
