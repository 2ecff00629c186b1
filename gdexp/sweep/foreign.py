"""The summary run of a sweep whose jobs another sweeper chooses, as Optuna's does.

Such a sweeper asks for some runs at a time, and no code of ours is called after the last. So the
summary is opened before the sweeper starts, and closed when the block around it ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from gdexp.console import say
from gdexp.descent.signals import exposed, shielded
from gdexp.errors import counted
from gdexp.sweep import best
from gdexp.sweep.ending import ending
from gdexp.sweep.workers.launched import ended

if TYPE_CHECKING:
    from gdexp.sweep.open_summary import OpenSummary

_opened: OpenSummary | None = None
_stack = ExitStack()  # what to leave at the end of the block


def open_summary(config: DictConfig) -> None:
    """Open the summary of a sweep, if another sweeper chooses its jobs and they are recorded.

    Args:
        config: the sweep's configuration, including Hydra's node.

    Raises:
        ConfigError: a sweep of this name is recorded already.
        StoreError: the store cannot be used.
    """
    global _opened
    if str(config.hydra.sweeper._target_).endswith(".GridSweeper"):
        return  # it opens its own
    _stack.enter_context(ended())
    if config.tracking.enabled:
        from gdexp.sweep.open_summary import OpenSummary

        with shielded():
            _opened = OpenSummary.of(config)
    trials = config.hydra.sweeper.get("n_trials")
    say(f"{counted(trials, 'run') if trials else 'runs'} in {config.hydra.sweep.dir}")


def launch_overrides(
    launcher: Any, overrides: Sequence[Sequence[str]], first: int
) -> Sequence[JobReturn]:
    """Run the jobs that another sweeper has chosen.

    Args:
        launcher: runs them: its ``config``, ``hydra_context`` and ``launch_jobs`` are used.
        overrides: the overrides of each job.
        first: the number of the first job.

    Raises:
        ConfigError: a value is refused.
    """
    from gdexp.config import validation
    from gdexp.config.overrides import assignment
    from gdexp.sweep.budget import within_budget
    from gdexp.sweep.jobs import planned
    from gdexp.sweep.progress import Tally, epochs_of
    from gdexp.sweep.vectorized.groups import check_vectorizable

    loader, typed = launcher.hydra_context.config_loader, launcher.config.hydra.overrides.task
    spelt = {*typed, *("{}={}".format(*pair) for pair in map(assignment, typed) if pair)}
    shared = spelt.intersection(*overrides)  # as the sweeper spells what it does not choose
    jobs = planned(launcher.config, loader, overrides, first, shared)
    for job in jobs:  # values that its sweeper chose, which nobody has seen before
        validation.check(job)
    check_vectorizable(jobs)
    trials = launcher.config.hydra.sweeper.get("n_trials")
    jobs = within_budget(jobs, launcher.config.tracking, trials or len(jobs))
    tally = Tally(len(jobs), epochs_of(jobs), summarised=False)
    try:
        returns: Sequence[JobReturn] = launcher.launch_jobs(jobs, tally)
        return returns
    finally:
        tally.close()


@contextmanager
def summarised() -> Iterator[None]:
    """Close the summary that was opened within this block, however the block ends."""
    global _stack
    with ending(_close), ExitStack() as _stack, exposed():
        yield


def _close(status: str) -> None:
    global _opened
    summary, _opened = _opened, None
    if summary is not None:
        summary.jobs = best.taken()
        say(f"sweep {summary.sweep_id}: {summary.close({}, status)}")
