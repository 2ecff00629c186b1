"""Recorded sweeps: their definition, and which of their jobs are done."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gdexp.config.job import Job
from gdexp.errors import ConfigError, brief
from gdexp.tracking.query import IS_RUN, runs_of, summaries_of
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.store import Store
from gdexp.tracking.tags import CONFIG_HASH, OUTCOME, OVERRIDES, SWEEP, VERSION

DEFINITION = "jobs.json"
THINNING = re.compile(r"(?:^| )\+{0,2}tracking\.max_(?:points|rows)=\S+")
WHERE = ("tracking.uri=", "tracking.experiment=")


def find(store: Store, name: str) -> RecordedRun:
    """The summary run of a sweep, named by its id, its folder, or "last".

    Raises:
        ConfigError: there is no such sweep.
    """
    summaries = summaries_of(store, None if name == "last" else Path(name).name)
    if not summaries:
        where = f"in experiment {store.experiment}."
        if name == "last":
            raise ConfigError(f"sweep.resume: no sweep has been recorded {where} Leave it out.")
        raise ConfigError(
            f"sweep.resume: there is no sweep {name!r} {where} "
            "Type sweep.resume=last, or the id of a sweep: the name of its folder."
        )
    return summaries[0]


def definition(jobs: Sequence[Job]) -> bytes:
    """The content of jobs.json: overrides and configuration hash of each job."""
    described = [{"overrides": _words(job), "config_hash": job.config_hash} for job in jobs]
    return json.dumps(described, indent=0).encode()


def check_unchanged(store: Store, summary: RecordedRun, jobs: Sequence[Job]) -> None:
    """Refuse to resume a sweep with other jobs.

    Raises:
        ConfigError: the jobs differ from those the sweep was started with; lists the difference.
    """
    before = _definition(store, summary)
    now = [(_unthinned(_words(job)), job.config_hash) for job in jobs]
    if before is None or before == now:
        return
    if not before:
        raise ConfigError(
            f"sweep.resume: {summary.tags[SWEEP]} had its jobs chosen by another sweeper, so it "
            "cannot be resumed. Name another sweep."
        )
    gone, new = Counter(before) - Counter(now), Counter(now) - Counter(before)
    lines = [f"  - {text or 'defaults'}" for text, _ in list(gone)[:5]]
    lines += [f"  + {text or 'defaults'}" for text, _ in list(new)[:5]]
    if {text for text, _ in gone} & {text for text, _ in new}:
        lines.append("  (same overrides, but the options or defaults they stand for have changed)")
    raise ConfigError(
        f"sweep.resume: {summary.tags[SWEEP]} was started with other jobs ({len(gone)} of "
        f"{len(before)} are gone, {len(new)} are new). Type what it was started with: "
        f"{summary.tags[OVERRIDES]}\n" + "\n".join(lines)
    )


def _words(job: Job) -> str:
    """The overrides, without those that name the store: a relative path may have changed."""
    return " ".join(word for word in job.typed if not word.lstrip("+").startswith(WHERE))


def _unthinned(text: str) -> str:
    """Overrides without the number of points that a run records, which is none of its results."""
    return THINNING.sub("", text).strip()


def _definition(store: Store, summary: RecordedRun) -> list[tuple[str, str]] | None:
    """Overrides and hash of each job the sweep was started with.

    None if an older version was killed before it had recorded them, and thus before the first job.
    """
    if "jobs" not in summary.params:  # written after the file
        return None
    try:
        described = json.loads(store.read(summary, DEFINITION))
        return [(_unthinned(job["overrides"]), job["config_hash"]) for job in described]
    except Exception as error:  # a damaged file may raise anything
        raise ConfigError(
            f"sweep.resume: the jobs of {summary.tags[SWEEP]} cannot be read: {brief(error)}. "
            "Start a new sweep."
        ) from error


def settle(store: Store, sweep_id: str) -> set[int]:
    """The numbers of the jobs that are done; all other runs of the sweep are discarded.

    A FINISHED run without its points or its trajectory becomes FAILED. Runs that failed, were
    interrupted or killed are deleted in MLflow's sense: hidden, but restorable.
    """
    done: set[int] = set()
    incomplete: dict[str, str] = {}
    discarded: list[str] = []
    for run in runs_of(store, sweep_id):
        if (number := run.number) is None:  # it has been edited: whose it is cannot be told
            continue
        if run.status != "FINISHED" or number in done:
            discarded.append(run.run_id)
        elif missing := _missing(store, run):
            incomplete[run.run_id] = f"{missing} was never written"
        else:
            done.add(number)
    if incomplete:
        store.fail(incomplete)
    if discarded:
        store.delete(discarded)
    return done


def _missing(store: Store, run: RecordedRun) -> str:
    """What a FINISHED run lacks, or "".

    Only older versions could leave such a run; the status is now written with the rest.
    """
    if OUTCOME not in run.tags:
        return "the outcome"
    if "train/loss" not in run.metrics and run.outcome != "diverged":
        return "its loss"
    if run.tags.get(VERSION) == "0.1.0" and "trajectory.parquet" not in store.files(run):
        return "its trajectory"
    return ""


def finished_hashes(store: Store) -> set[str]:
    """The configuration hashes of all finished runs."""
    runs = store.runs(IS_RUN)
    return {r.tags.get(CONFIG_HASH, "") for r in runs if r.status == "FINISHED"}
