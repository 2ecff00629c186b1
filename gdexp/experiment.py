"""One run from its job to its record: check and build it, compute it, record it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TextIO

from gdexp.config import validation
from gdexp.config.job import Job
from gdexp.config.schema import FAMILIES
from gdexp.console import report_forecast, say
from gdexp.descent.build import Components, build
from gdexp.descent.checkpoint import Folder, check_updater, fit
from gdexp.descent.checkpoint_files import Checkpoint, read
from gdexp.descent.compute import begin, compute, end
from gdexp.descent.result import Result
from gdexp.descent.signals import exposed, shielded
from gdexp.errors import ConfigError
from gdexp.insight import notes
from gdexp.insight.checks import every_epoch

if TYPE_CHECKING:
    from gdexp.tracking.recorder import Recorder
    from gdexp.tracking.store import Store


@dataclass(frozen=True)
class Ready:
    """A run that has been checked and built, and can start.

    Attributes:
        job: the run.
        built: its components.
        store: where it is recorded; None if tracking is off.
        saved: the checkpoint that it continues; None if starting from scratch.
        asked: the job it was prepared from, which has other settings if it continues a checkpoint.
    """

    job: Job
    built: Components
    store: Store | None
    saved: Checkpoint | None
    asked: Job


@exposed()
def prepare(job: Job) -> Ready:
    """Check and build a run, and open its store; nothing else is created.

    Raises:
        ConfigError: a setting is out of range, or a constructor rejects it.
        StoreError: the tracking store cannot be used.
    """
    new, built, saved = assembled(job)
    return Ready(new, built, open_store(new), saved, job)


def check_run(job: Job) -> None:
    """Check a run as :func:`prepare` does, without opening its store.

    Raises:
        ConfigError: a setting is out of range, or a constructor rejects it.
    """
    assembled(job)


def assembled(job: Job) -> tuple[Job, Components, Checkpoint | None]:
    """Check and build a run: itself, its components, and the checkpoint that it continues.

    Raises:
        ConfigError: a setting is out of range, or a constructor rejects it.
    """
    if job.settings["continue_from"] is None:
        return job, assemble(job), None
    from gdexp.descent import continuing

    checkpoint = _checkpoint(job)
    new = continuing.continued(job, checkpoint)
    built = assemble(new)
    saved = fit(new, built, checkpoint)
    return continuing.without_met_rules(new, built, saved), built, saved


def assemble(job: Job) -> Components:
    """Check and build a run.

    Raises:
        ConfigError: a setting is out of range, or a constructor rejects it.
    """
    validation.check(job)
    built = build(job)
    check_updater(job, built)
    if built.scheduler is not None or not _is_by_hand(job):
        from gdexp.descent import trial

        trial.check(job, built)
    return built


def _is_by_hand(job: Job) -> bool:
    """Whether all four families are of gdexp.manual, of which an update reveals nothing."""
    targets = (str(job.settings[family]["_target_"]) for family in FAMILIES)
    return all(target.startswith("gdexp.manual.") for target in targets)


def continued(job: Job) -> Job:
    """The job with the settings of the run that it continues, if it continues one.

    Raises:
        ConfigError: the checkpoint does not exist, or a typed setting differs from the run's.
    """
    if job.settings["continue_from"] is None:
        return job
    from gdexp.descent import continuing

    return continuing.continued(job, _checkpoint(job))


def _checkpoint(job: Job) -> Checkpoint:
    is_tracked = job.settings["tracking"]["enabled"]
    fetch = partial(_newest_checkpoint, job) if is_tracked else None  # creates no store
    return read(job.settings["continue_from"], fetch)


def open_store(job: Job) -> Store | None:
    """Open the store that a job names; None if tracking is off.

    Raises:
        StoreError: it cannot be used.
    """
    if not job.settings["tracking"]["enabled"]:
        return None
    from gdexp.tracking.connect import connect

    return connect(job.settings["tracking"])


def place(store: Store | None) -> str:
    """Where runs are recorded, in words."""
    if store is None:
        return ""
    from gdexp.credentials import without_password

    return f"experiment {store.experiment} of {without_password(store.uri)}"


def _newest_checkpoint(job: Job, run_id: str) -> tuple[str, bytes]:
    from gdexp.tracking.connect import connect
    from gdexp.tracking.location import is_created, resolve
    from gdexp.tracking.restore import newest_checkpoint

    settings = job.settings["tracking"]
    if not is_created(resolve(settings.get("uri"))):
        raise ConfigError(
            f"continue_from: {run_id!r} is neither a file nor a run: no run is recorded yet."
        )
    return newest_checkpoint(connect(settings), run_id)


def recorder_of(
    store: Store | None, on_written: Callable[[Job, Result], None] | None = None
) -> Recorder | None:
    """The recorder of a store; None if there is no store."""
    if store is None:
        return None
    from gdexp.tracking.recorder import Recorder

    return Recorder(store, on_written)


def run(ready: Ready, stream: TextIO | None = None) -> Result:
    """Compute and record one run.

    Args:
        ready: the run.
        stream: where the transcript is printed; None: it is only kept in the result.

    Raises:
        WriteError: the store cannot be written.
        Interrupted: a signal arrived; the run is recorded as KILLED.
    """
    recorder = recorder_of(ready.store)
    with shielded():
        try:
            return run_within(ready, recorder, stream)
        finally:
            if recorder is not None:
                recorder.flush()
                if ready.job.number is None:  # a sweep tries once more at its own end
                    recorder.finish()


def run_within(
    ready: Ready, recorder: Recorder | None, stream: TextIO | None = None, *, bar: bool = True
) -> Result:
    """Compute one run and pass it to the recorder, however it ends.

    The caller holds the shield (:func:`gdexp.descent.signals.shielded`), so that a signal can
    interrupt the run while it descends, but not between its last epoch and its record.

    Args:
        ready: the run.
        recorder: records the run; None: it is not recorded.
        stream: where the transcript is printed; None: it is only kept in the result.
        bar: whether to show a progress bar.
    """
    job, built = ready.job, ready.built
    every_epoch.watch(job, built, ready.saved.epoch if ready.saved is not None else 0)
    result, transcript = begin(job, built, stream)
    notes.before(job, built, result)
    if stream is not None:
        report_forecast(result)
    if ready.saved is not None:
        from gdexp.descent import continuing

        say(continuing.announcement(job, ready.saved))
    recording = recorder.begin(job, built.data) if recorder is not None else None
    error: BaseException | None = None
    try:
        with exposed():
            compute(
                job,
                built,
                result,
                transcript,
                saved=ready.saved,
                update=recording.update if recording is not None else None,
                keep=recording.keep if recording is not None else Folder().keep,
                bar=bar,
            )
            notes.diagnose(job, built, result)
    except SystemExit as stopped:
        error = RuntimeError(f"a component of the run called sys.exit({stopped.code!r})")
        raise error from stopped
    except BaseException as stopped:
        error = stopped
        raise
    finally:
        end(job, result, transcript, error)
        if recorder is not None and recording is not None:
            recorder.end(recording, result)
    return result
