"""``python -m gdexp replay``: run a recorded run again and compare every epoch with its record.

Exit codes: 0 identical, 1 different, or the run fails now, 2 it cannot be replayed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gdexp.commands import common, rerun
from gdexp.errors import counted

if TYPE_CHECKING:
    from gdexp.commands.conditions import Conditions
    from gdexp.config.job import Job
    from gdexp.descent.result import Result
    from gdexp.descent.trajectory import Trajectory
    from gdexp.insight.comparison.difference import Difference
    from gdexp.tracking.run_record import RecordedRun
    from gdexp.tracking.store import Store

CUT = ("failed", "interrupted", "killed")  # outcomes of runs of which only the first epochs count
LISTED = 3  # quantities of the last epoch
THEN, NOW = "recorded", "now"


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    parser = common.parser("replay", single=True)
    common.add_trust(parser)
    parser.epilog = "Exit codes: 0 identical, bit for bit; 1 different; 2 it cannot be replayed."
    args = parser.parse_args(argv)
    return common.guarded(lambda: _replay(args))


def _replay(args: argparse.Namespace) -> int:
    from gdexp.commands.conditions import Conditions
    from gdexp.config.trust import Trust
    from gdexp.insight.comparison.difference import difference
    from gdexp.tracking.restore import job_of

    trust = Trust(tuple(args.trust))
    store, run, before, then = rerun.recorded(args, verb="replay", purpose="compare with")
    with rerun.where_it_started(then):
        with rerun.refusing(run, then, "replayed"):
            job = job_of(store, run, trust)
        for together in _ways(job, then):
            with rerun.refusing(run, then, "replayed"):
                result = _computed(store, _shortened(job, run, before), together=together)
            differs = difference(before, result.trajectory, job.settings["dtype"])
            if differs is None:
                common.show(_identical(run, before))
                return 0
        assert differs is not None
        now = Conditions.of(job, result)
    common.show("\n".join([*_different(differs, before, result), *_around(then, now, job)]))
    return 1


def _ways(job: Job, then: Conditions) -> tuple[bool, ...]:
    """Whether the run was computed together with others; both, if that is unknown."""
    if then.is_known or job.sweep_id is None:
        return (then.together is not None,)
    return False, True


def _shortened(job: Job, run: RecordedRun, before: Trajectory) -> Job:
    """The job with no more epochs than it takes to tell whether it differs.

    Of a run that was cut short, these are the recorded ones; of another one, one more, since it may
    go on where the recorded one ended.
    """
    more = run.outcome not in CUT or before.diverged
    iters = min(job.settings["iters"], before.length + more)
    return replace(job, settings=job.settings | {"iters": iters})


def _computed(store: Store, job: Job, *, together: bool) -> Result:
    """The run, computed again."""
    from gdexp.sweep.again import compute_again
    from gdexp.tracking.restore import newest_checkpoint

    return compute_again(job, lambda name: newest_checkpoint(store, name), together=together)


def _identical(run: RecordedRun, trajectory: Trajectory) -> str:
    epochs, quantities = trajectory.length, len(trajectory.columns())
    counts = f"{counted(epochs, 'epoch')}, {quantities} quantities"
    how = f" (the run was {run.outcome})" if run.outcome in CUT else ""
    return f"identical, bit for bit: {counts}{how}"


def _different(differs: Difference, before: Trajectory, result: Result) -> Iterator[str]:
    first, after = differs.first, result.trajectory
    if result.outcome == "failed":
        yield f"it fails now: {result.reason}"
    yield f"different from epoch {first.epoch} on:"
    yield f"  {first.words(THEN, NOW)}"
    if before.length < after.length:
        yield f"  the recorded run ended after epoch {before.length}, and goes on now"
    elif before.length > after.length:
        yield f"  the recorded run went on, and ends now after epoch {after.length}"
    if alone := before.columns().keys() ^ after.columns().keys():
        yield f"  only one of them has {', '.join(sorted(alone))}"
    if differs.last_epoch > first.epoch:
        yield f"in epoch {differs.last_epoch}, the last that both have:"
        yield from (f"  {pair.words(THEN, NOW)}" for pair in differs.ends[:LISTED])
        if (more := len(differs.ends) - LISTED) > 0:
            yield f"  and {more} more"
        if not differs.ends:
            yield "  everything is equal again"


def _around(then: Conditions, now: Conditions, job: Job) -> Iterator[str]:
    """What differs around the run, and what is not known of it."""
    lines = [
        f"  {name}: {THEN} {_shown(value)}, {NOW} {_shown(other)}"
        for name, value, other in then.differences(now)
    ]
    if lines:
        yield "what differs around it:"
        yield from lines
    elif then.is_known:
        yield "nothing differs around it: the versions, the machine and the data are the same"
    if not then.is_known:
        yield "not recorded: the versions of libraries, the machine and the digest of the data"
    if not then.has_commit and _has_own_code(job):
        yield "not recorded: your own code, which was not in a git repository"
    if now.together and "torch" in now.facts:
        others = f"with {then.together - 1} others" if then.together else "with others"
        yield f"it was computed together {others}, and now alone: torch may round differently"


def _has_own_code(job: Job) -> bool:
    """Whether a component is neither of gdexp nor of torch."""
    from gdexp.config.trust import BUILT, targets

    named = (target for group in BUILT for _, target in targets(job.settings[group], group))
    return any(target and not str(target).startswith(("gdexp.", "torch.")) for target in named)


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
