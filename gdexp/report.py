"""What stderr says of a run: how it ended, where it is recorded, and what to know about it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from omegaconf import DictConfig

from gdexp.components import choice
from gdexp.experiment import Result

_noted: set[str] = set()


def report_job(cfg: DictConfig, typed: Sequence[str], result: Result, in_sweep: bool) -> None:
    """The lines after a run; in a sweep, one line."""
    if in_sweep:
        loss = f"loss {result.trajectory.loss[-1]:.6g}, " if result.trajectory.length else ""
        ended = f"{loss}f({cfg.predict_at:g}) = {result.prediction:.6g}"
        say(f"#{cfg.hydra.job.num} {' '.join(typed) or 'defaults'}: {result.outcome}, {ended}")
        if result.note and choice(cfg, "gradient") not in _noted:
            _noted.add(choice(cfg, "gradient"))  # once in a sweep is enough
            say(f"note: {result.note}")
        return
    if result.outcome != "completed":
        say(f"{result.outcome}: {result.reason}")
    if result.note:
        say(f"note: {result.note}")
    if result.run_id is not None:
        from gdexp.tracking.store import connect, hide_password

        store = connect(cfg.tracking)
        say(
            f"recorded as run {result.run_id} in experiment {store.experiment} of "
            f"{hide_password(store.uri)}"
        )
        say("see it with: python -m gdexp.ui")


def report_sweep() -> None:
    """The lines after a sweep."""
    say("compare the runs with: python -m gdexp.compare, or in the browser: python -m gdexp.ui")


def say(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr, flush=True)
