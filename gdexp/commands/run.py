"""The command line of a run: Hydra's entry point, and errors as sentences and exit codes.

Exit codes: 0 done, 1 a run failed, 2 bad input (nothing was started), 130 or 143 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import hydra
from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.utils import _run_hydra, get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from gdexp.commands import arguments
from gdexp.config.compose import (
    ROOT,
    VERSION_BASE,
    Composer,
    checked_dir,
    conf_dir,
    session,
    yaml_problem,
)
from gdexp.config.job import Job
from gdexp.config.overrides import typed
from gdexp.config.paths import absolute, check_writable, started_in
from gdexp.descent.signals import handled, in_worker
from gdexp.errors import GdexpError, Interrupted, RunFailedError, WriteError, first_line

if TYPE_CHECKING:
    from gdexp.experiment import Ready


def main(argv: Sequence[str]) -> None:
    """Run the command line and exit with its code."""
    try:
        args = arguments.parse(argv)
    except GdexpError as error:
        sys.exit(refuse(error))
    sys.exit(_guarded(args))


def _guarded(args: Namespace) -> int:
    """Run Hydra and turn every ending into an exit code."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # raise exceptions instead of printing them
    try:
        with handled():
            Preflight.records_sweep = False
            if args.config_dir is not None:
                checked_dir(args.config_dir)
            if args.help:
                from gdexp.commands.help import help_text

                print(help_text(args.config_dir))
                return 0
            if not (_is_plain_run(args) and _run(args.overrides)):
                _run_by_hydra(args)
            if Preflight.records_sweep:
                from gdexp.console import report_sweep

                report_sweep()
    except Interrupted as stop:
        print(f"\n{stop.message}", file=sys.stderr)
        return stop.exit_code
    except RunFailedError:
        return 1
    except WriteError as error:
        refuse(error)
        return 1
    except GdexpError as error:
        return refuse(error)
    except BrokenPipeError:  # the reader has stopped reading (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except YAMLError as error:
        return refuse(yaml_problem(error))
    except (HydraException, OmegaConfBaseException, ValueError, AssertionError) as error:
        return _explain(error, args)
    except OSError as error:  # Hydra cannot write its files: the disk is full
        refuse(error)
        return 1
    return 0


def _run_by_hydra(args: Namespace) -> None:
    from gdexp.sweep import best, foreign

    version.setbase(VERSION_BASE)  # else Hydra 1.1's, which changes the working folder
    with foreign.summarised():
        _run_hydra(args, get_args_parser(), _run_job, conf_dir(), ROOT)
    best.report()


def _is_plain_run(args: Namespace) -> bool:
    """Whether Hydra is only asked to run once, with our own configuration files."""
    flags = vars(args)
    return not any(flags[name] for name in flags if name not in ("overrides", "run", "resolve"))


def _run(overrides: list[str]) -> bool:
    """Run once, composing once: Hydra's own entry point composes twice.

    Returns:
        False if the configuration asks for a multirun, which is then not started.
    """
    with hydra.initialize_config_dir(conf_dir(), job_name="gdexp", version_base=VERSION_BASE):
        config = hydra.compose(ROOT, overrides, return_hydra_config=True)
        if config.hydra.mode is RunMode.MULTIRUN:
            return False
        config.hydra.mode = RunMode.RUN
        callbacks = Callbacks(config)
        callbacks.on_run_start(config=config, config_name=ROOT)
        loader = GlobalHydra.instance().config_loader()
        returned = run_job(
            hydra_context=HydraContext(config_loader=loader, callbacks=callbacks),
            task_function=_run_job,
            config=config,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
        )
        callbacks.on_run_end(config=config, config_name=ROOT, job_return=returned)
    _ = returned.return_value  # raises what the job raised
    return True


def _explain(error: Exception, args: Namespace) -> int:
    """Explain an error raised by Hydra in our words, or else by its own first lines."""
    from gdexp import preflight

    try:
        if args.shell_completion:
            return refuse(first_line(error))
        with session():
            words = [word for word in args.overrides if word]
            composer = Composer(args.config_dir, args.config_name or ROOT)
            preflight.check(words, composer, multirun=args.multirun)
    except GdexpError as better:
        return refuse(better)
    except Exception as another:
        error = another
    lines = [str(e).strip().splitlines()[0] for e in (error, error.__cause__) if e and str(e)]
    return refuse(": ".join(lines) or repr(error))


def refuse(error: object) -> int:
    """Print an error; returns the exit code of bad input."""
    print(f"gdexp: {error}", file=sys.stderr)
    return 2


@in_worker()
def _run_job(cfg: DictConfig) -> float | None:
    """Run one job; returns the final loss, which a sweeper like Optuna minimises."""
    from gdexp import experiment
    from gdexp.console import log_settings, report_job

    hydra_config = HydraConfig.get()
    with open_dict(cfg):
        cfg.hydra = hydra_config
    job = Job.of(cfg, typed(cfg))
    with started_in(hydra_config.runtime.cwd):
        ready = Preflight.take(job) or experiment.prepare(job)
        place = experiment.place(ready.store)
        log_settings(job, place)
        try:
            result = experiment.run(ready, sys.stdout if job.number is None else None)
        except GdexpError:
            raise
        except Exception as error:
            traceback.print_exc()
            raise RunFailedError(str(error)) from error
        report_job(ready.job, result, place)
    return result.loss if result.trajectory.length else None


# Hydra passes this function to launchers; the mark tells ours that it may vectorize the jobs.
setattr(_run_job, "runs_a_gdexp_job", True)  # noqa: B010  (mypy knows no such attribute)


class Preflight(Callback):
    """Checks the whole input before Hydra creates a folder.

    Hydra turns an Exception in a callback into a warning, so bad input raises SystemExit.
    """

    records_sweep: ClassVar[bool] = False  # whether the runs of a sweep can be compared
    _ready: ClassVar[Ready | None] = None

    @classmethod
    def take(cls, job: Job) -> Ready | None:
        """The run that was checked and built, if it is this job's; it is then not built again."""
        ready, cls._ready = cls._ready, None
        return ready if ready is not None and ready.asked == job else None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the run that is about to start."""
        Preflight._ready = self._check(config, multirun=False)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check every job of the sweep that is about to start."""
        from gdexp.console import log_settings
        from gdexp.experiment import place

        first = self._check(config, multirun=True)
        log_settings(first.job, place(first.store))
        Preflight.records_sweep = bool(config.tracking.enabled and not config.sweep.dry_run)

    def _check(self, config: DictConfig, *, multirun: bool) -> Ready:
        from gdexp import experiment
        from gdexp.config import validation

        try:
            try:
                job = Job.of(config, typed(config))
                doubt = validation.needs_full_check(job)
            except OmegaConfBaseException:  # a setting that every run needs was removed
                doubt = True
            hydras = typed(config, "hydra")
            if multirun or doubt or any(text != "hydra.mode=RUN" for text in hydras):
                from gdexp import preflight

                whole = [*hydras, *typed(config)]
                composer = Composer(root=config.hydra.job.config_name)
                first = preflight.check(whole, composer, multirun=multirun)
            if multirun:
                job = first  # a sweep's own configuration lacks the swept values
                from gdexp.sweep.sweeper import check_sweeper
                from gdexp.sweep.workers.engines import check_engine

                check_sweeper(config.hydra.sweeper)
                check_engine(config.hydra.launcher)
            folder = config.hydra.sweep.dir if multirun else config.hydra.run.dir
            check_writable(absolute(folder), "outputs")
            ready = experiment.prepare(job)
            if multirun:
                from gdexp.sweep.foreign import open_summary

                open_summary(config)
            return ready
        except GdexpError as error:
            sys.exit(refuse(error))
        except Exception:  # a bug: stop, as Hydra would only warn
            traceback.print_exc()
            sys.exit(1)
