"""A sweep in the store: its definition, and which of its jobs are done."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlflow.entities import Run

from gdexp.config.job import Job
from gdexp.config.paths import absolute
from gdexp.errors import ConfigError
from gdexp.tracking import describe
from gdexp.tracking.store import Store

DEFINITION = "jobs.json"
DONE = "attributes.status = 'FINISHED'"
WHERE = ("tracking.uri=", "tracking.experiment=")


def find(store: Store, name: str) -> Run:
    """The summary run of a sweep.

    Args:
        store: the store.
        name: the sweep's id, its folder, or "last".

    Raises:
        ConfigError: there is no such sweep.
    """
    found = _summaries(store, Path(name).name)
    if not found:
        what = "no sweep has been recorded" if name == "last" else f"there is no sweep {name!r}"
        raise ConfigError(f"sweep.resume: {what} in experiment {store.experiment}.")
    return found[0]


def _summaries(store: Store, name: str) -> list[Run]:
    wanted = "" if name == "last" else f" AND tags.`gdexp.sweep_id` = '{_quoted(name)}'"
    found: list[Run] = store.client.search_runs(
        [store.experiment_id],
        f"tags.`gdexp.kind` = 'sweep'{wanted}",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return found


def _quoted(text: str) -> str:
    return text.replace("'", "")


def check_unchanged(store: Store, summary: Run, jobs: Sequence[Job]) -> None:
    """Refuse to resume a sweep as another one.

    Raises:
        ConfigError: the jobs are not those that the sweep was started with; with the difference.
    """
    before = _definition(store, summary)
    now = [(_words(job), job.config_hash) for job in jobs]
    if before is None:  # it was killed while it wrote them down, before the first one started
        _define(store, summary.info.run_id, jobs)
        return
    if before == now:
        return
    gone, new = Counter(before) - Counter(now), Counter(now) - Counter(before)
    lines = [f"  - {text or 'defaults'}" for text, _ in list(gone)[:5]]
    lines += [f"  + {text or 'defaults'}" for text, _ in list(new)[:5]]
    if {text for text, _ in gone} & {text for text, _ in new}:
        lines.append("  (the same words, but the options or defaults behind them have changed)")
    sweep_id = summary.data.tags["gdexp.sweep_id"]
    raise ConfigError(
        f"sweep.resume: {sweep_id} was started with other jobs ({len(gone)} of {len(before)} are "
        f"gone, {len(new)} are new). Type what it was started with: "
        f"{summary.data.tags['gdexp.overrides']}\n" + "\n".join(lines)
    )


def _words(job: Job) -> str:
    """What was typed, but for the words that name the store: they may lead to it from anywhere."""
    return " ".join(word for word in job.typed if not word.startswith(WHERE))


def _define(store: Store, run_id: str, jobs: Sequence[Job]) -> None:
    described = [{"overrides": _words(job), "config_hash": job.config_hash} for job in jobs]
    store.client.log_text(run_id, json.dumps(described, indent=0), DEFINITION)
    store.client.log_param(run_id, "jobs", len(jobs))


def _definition(store: Store, summary: Run) -> list[tuple[str, str]] | None:
    """Overrides and hash of each job the sweep was started with; None: it never got to them."""
    if "jobs" not in summary.data.params:  # written after the file, so the file is whole
        return None
    path = store.client.download_artifacts(summary.info.run_id, DEFINITION)
    with open(path) as file:
        return [(job["overrides"], job["config_hash"]) for job in json.load(file)]


def runs_of(store: Store, sweep_id: str, extra: str = "") -> Iterator[Run]:
    """The runs of a sweep, page by page, without its summary."""
    condition = f"tags.`gdexp.sweep_id` = '{_quoted(sweep_id)}' AND tags.`gdexp.kind` = 'run'"
    yield from _search(store, condition + (f" AND {extra}" if extra else ""))


def _search(store: Store, condition: str) -> Iterator[Run]:
    token = None
    while True:
        page = store.client.search_runs(
            [store.experiment_id], condition, max_results=1000, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def settle(store: Store, sweep_id: str) -> set[int]:
    """The numbers of the jobs that are done; what was left failed or half-made is set aside.

    Runs that were failed, interrupted or killed are deleted as MLflow does it: they can be
    restored, and no page shows them.
    """
    done: set[int] = set()
    for run in list(runs_of(store, sweep_id)):
        number = int(run.data.tags["gdexp.job"])
        if run.info.status == "FINISHED" and number not in done:
            done.add(number)
        else:
            store.client.delete_run(run.info.run_id)
    return done


def finished_hashes(store: Store) -> set[str]:
    """The hashes of all configurations of which a finished run is recorded."""
    found = _search(store, f"tags.`gdexp.kind` = 'run' AND {DONE}")
    return {run.data.tags.get("gdexp.config_hash", "") for run in found}


def begin(store: Store, folder: str, typed: Sequence[str], jobs: Sequence[Job]) -> str:
    """Open the summary run of a sweep, with the definition of its jobs; its id.

    Raises:
        ConfigError: the store has a sweep of this name, so their runs would be mixed.
    """
    sweep_id = str(jobs[0].sweep_id)
    if _summaries(store, sweep_id):
        raise ConfigError(
            f"hydra.sweep.dir: a sweep {sweep_id!r} is recorded already. Name another folder, or "
            f"type sweep.resume={sweep_id} to run what is missing of it."
        )
    command = " ".join(["python -m gdexp -m", *typed])
    tags = {
        "gdexp.kind": "sweep",
        "gdexp.sweep_id": sweep_id,
        "gdexp.sweep_dir": str(absolute(folder)),  # it may be resumed from another folder
        "gdexp.overrides": short(" ".join(typed)),
        "mlflow.note.content": f"`{short(command)}`: {len(jobs)} runs, not finished yet.",
    }
    tags |= {
        k: v for k, v in describe.tags(jobs[0]).items() if k.startswith(("mlflow.", "gdexp.g"))
    }
    name = f"sweep {' '.join(typed)}"[: describe.LONGEST_NAME]
    run = store.client.create_run(store.experiment_id, tags=tags, run_name=name)
    _define(store, run.info.run_id, jobs)
    return str(run.info.run_id)


def reopen(store: Store, summary: Run) -> str:
    """Open the summary run of a sweep that is resumed; its id."""
    store.client.update_run(summary.info.run_id, status="RUNNING")
    return str(summary.info.run_id)


def short(text: str) -> str:
    """A command that lists thousands of values, as long as a tag may be with words around it."""
    longest = describe.LONGEST_VALUE
    return text if len(text) <= longest else text[: longest - 1] + "…"
