"""A recorded run, computed again in the way it was computed first; nothing is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gdexp.config.job import Job
from gdexp.descent.build import Components
from gdexp.descent.checkpoint import fit
from gdexp.descent.checkpoint_files import Fetch, read
from gdexp.descent.compute import begin, compute, end
from gdexp.descent.result import Result
from gdexp.experiment import assemble
from gdexp.insight import notes
from gdexp.sweep.vectorized import eligible, trial
from gdexp.sweep.vectorized.compute import compute as compute_together


def compute_again(
    job: Job,
    fetch: Fetch,
    *,
    together: bool,
    assembled: Callable[[Job], Components] = assemble,
) -> Result:
    """Compute a run from its recorded settings.

    Args:
        job: the run; of a run that continued a checkpoint, with the settings of both.
        fetch: reads the newest checkpoint of a recorded run.
        together: whether it was computed as one program with others; it is now one of a single run.
        assembled: checks and builds it.

    Returns:
        The result. If a component raises an exception in mid-run, this is the result's reason.

    Raises:
        ConfigError: a setting, a component, the data or the checkpoint is gone or has changed.
    """
    built, continues = assembled(job), job.settings["continue_from"]
    if together and not (eligible.obstacle(job) or trial.obstacle([job])):
        ((_, result),) = compute_together([replace(job, number=0)], on_progress=lambda _: None)
        return result
    saved = None if continues is None else fit(job, built, read(continues, fetch))
    result, transcript = begin(job, built)
    notes.before(job, built, result)  # as in the run: a component may count its calls
    error: Exception | None = None
    try:
        compute(job, built, result, transcript, saved=saved)
    except Exception as stopped:
        error = stopped
    end(job, result, transcript, error)
    return result
