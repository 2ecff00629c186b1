"""Running an experiment from Python, as :func:`gdexp.run` does."""

from __future__ import annotations

from collections.abc import Sequence

from gdexp.config import validation
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.config.overrides import readable
from gdexp.descent.result import Result
from gdexp.descent.signals import handled
from gdexp.experiment import prepare, run


def run_overrides(typed: Sequence[str], config_dir: str | None) -> Result:
    """Compose, check and run overrides; see :func:`gdexp.run`."""
    typed = [readable(text) for text in typed]
    with handled():
        with session():
            composer = Composer(config_dir)
            try:
                job = Job.of(composer.compose(typed), typed)
            except Exception:
                _explain(typed, composer)
                raise
            if validation.needs_full_check(job):
                _explain(typed, composer)
        return run(prepare(job))


def _explain(typed: Sequence[str], composer: Composer) -> None:
    from gdexp import preflight  # imports the sweep code, which a valid run does not need

    preflight.check(typed, composer, multirun=False)
