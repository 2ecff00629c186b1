"""The rungs of the ladder: combinations of options, composed, checked and computed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gdexp.errors import ConfigError, GdexpError

if TYPE_CHECKING:
    from gdexp.config.compose import Composer
    from gdexp.config.job import Job
    from gdexp.insight.comparison.ladder import Rung

Combination = tuple[str, ...]  # options as typed

STEPS = ("manual", "autograd", "optimizer", "model")
OPTIONS = {
    "predictor": ("manual", "model"),
    "gradient": ("manual", "autograd"),
    "loss": ("manual", "MSELoss"),
    "updater": ("manual", "SGD"),
}
TRUE = "gradient=manual"  # the derivative, in place of the formula that step 1 published


def check_word(key: str, word: str) -> None:
    """Refuse what the ladder sets itself, and what has several values."""
    from gdexp.config.overrides import parse

    if key == "step":
        raise ConfigError(f"{word}: the ladder compares all four steps. Leave it out.")
    if key == "continue_from":
        raise ConfigError(f"{word}: the ladder compares runs from one start. Leave it out.")
    if parse(word).is_sweep_override():
        raise ConfigError(f"{word} names several values, and the ladder takes one. Choose one.")


def steps(keys: Sequence[str]) -> list[Combination]:
    """The words of each step; step 1 with the true derivative, unless a gradient was chosen."""
    first = ("step=manual",) if "gradient" in keys else ("step=manual", TRUE)
    return [first, *((f"step={step}",) for step in STEPS[1:])]


def combinations(keys: Sequence[str]) -> list[Combination]:
    """All combinations of the options of the families that were not chosen."""
    axes = [
        [f"{family}={option}" for option in options]
        for family, options in OPTIONS.items()
        if family not in keys
    ]
    return list(itertools.product(*axes))


def composed(
    wanted: Sequence[Combination], typed: Sequence[str], composer: Composer
) -> list[tuple[Combination, Job]]:
    """The checked job of each combination.

    Raises:
        ConfigError: a combination is refused; says which, unless all are refused alike.
    """
    from gdexp.commands.api import composed_job
    from gdexp.experiment import check_run

    def job_of(words: Combination) -> Job:
        job = composed_job([*words, *typed], composer)
        check_run(job)
        return job

    jobs = []
    for words in wanted:
        try:
            jobs.append((words, job_of(words)))
        except ConfigError as error:
            raise _refusal(words, error, None if jobs else wanted[-1], job_of) from error
    return jobs


def _refusal(
    words: Combination, error: ConfigError, other: Combination | None, job_of: Callable[..., Job]
) -> ConfigError:
    """The error of a combination; it names the combination unless another is refused alike."""
    if other is not None:
        try:
            job_of(other)
        except ConfigError as another:
            if str(another) == str(error):
                return error
    family, hint = str(error).partition(".")[0], ""
    if family in OPTIONS:
        hint = f" Choose one {family} for all, as in {family}={OPTIONS[family][1]}."
    return ConfigError(f"with {' '.join(words)}, {error}{hint}")


def distinct(jobs: Sequence[tuple[Combination, Job]]) -> list[tuple[Combination, Job, Combination]]:
    """The jobs without those that are like an earlier one, and the numbers of all."""
    from gdexp.config.schema import FAMILIES

    by_options: dict[str, tuple[Combination, Job, Combination]] = {}
    for number, (words, job) in enumerate(jobs, 1):
        key = repr([job.settings[family] for family in FAMILIES])
        first = by_options.get(key, (words, job, ()))
        by_options[key] = (*first[:2], (*first[2], str(number)))
    return list(by_options.values())


def climbed(words: Combination, job: Job, labels: Combination = ()) -> Rung:
    """Compute a rung.

    Raises:
        GdexpError: a component of the run failed.
    """
    from gdexp.insight.comparison.ladder import Rung
    from gdexp.insight.comparison.rounding import computed

    try:
        return Rung(words, job, labels, trajectory=computed(job))
    except Exception as error:
        raise GdexpError(f"{' '.join(job.typed)} fails: {type(error).__name__}: {error}") from error
