"""The parts that reports on runs and on sweeps share, read from the record."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Sequence

from gdexp.commands.conditions import CALLED, TAGS, Conditions
from gdexp.config import __version__
from gdexp.credentials import without_password
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.report.view import Block, Code, Drawing, Section, Sentence, Setting, Table, Value
from gdexp.tracking.dataset_record import shape_of
from gdexp.tracking.run_record import DatasetRecord, RecordedRun
from gdexp.tracking.store import Store
from gdexp.tracking.tags import COMMIT, CONFIG_HASH, DIRTY, NOTE, OVERRIDES

LONGEST = 200  # characters of a setting in a table
MORE = 3  # distinct values of a fact that are named
DIGEST = CALLED["data"]
SHOWN_ELSEWHERE = (DIGEST, TAGS[CONFIG_HASH])  # with the data set, and as the settings themselves


def asked_and_noted(run: RecordedRun, *, multirun: bool = False) -> tuple[str, str]:
    """The command of a run or of a sweep, and what its note says after it.

    The note is empty if someone has changed it in MLflow; the command is then made of the
    overrides, without the quotes that the shell may need.
    """
    command, mark, said = run.tags.get(NOTE, "").removeprefix("`").partition("` ")
    if multirun and not mark:
        command, mark, said = run.tags.get(NOTE, "").removeprefix("`").partition("`: ")
    if mark and command.startswith("python -m gdexp"):
        return command, said
    words = ["python -m gdexp", *(["-m"] if multirun else []), run.tags.get(OVERRIDES, "")]
    return " ".join(words).strip(), ""


def pictures(drawn: Iterator[Picture]) -> list[Block]:
    """The pictures as blocks."""
    return [Drawing(picture) for picture in drawn]


def facts(caption: str, rows: Sequence[tuple[str, Value]], *, is_folded: bool = False) -> Table:
    """Names and values; those that are not known are left out, long ones are cut."""
    known = [(name, shortened(value)) for name, value in rows if value not in (None, "")]
    return Table(caption, ("name", "value"), known, is_folded=is_folded)


def setting(value: Value) -> Value:
    """The value of a param, which keeps every digit; cut if it is a long string."""
    return Setting(value) if isinstance(value, float) else shortened(value)


def shortened(value: Value) -> Value:
    """The value, cut if it is a long string."""
    is_long = isinstance(value, str) and len(value) > LONGEST
    return f"{str(value)[:LONGEST]}…" if is_long else value


def data_section(store: Store, runs: Sequence[RecordedRun]) -> Section:
    """The data sets of the runs."""
    digests: dict[Value, RecordedRun] = {}
    for run in runs:
        digests.setdefault(Conditions.recorded(run).facts.get(DIGEST), run)
    blocks: list[Block] = []
    for run in list(digests.values())[:MORE]:
        if (dataset := store.dataset(run)) is not None:
            blocks.append(facts("The data set", _of_dataset(dataset)))
    if len(digests) > MORE:
        blocks.append(Sentence(f"The runs were fitted to {len(digests)} data sets in all."))
    return Section("data", "Data set", blocks)


def _of_dataset(dataset: DatasetRecord) -> list[tuple[str, Value]]:
    source = _loaded(dataset.source)
    rows, columns = shape_of(dataset) or (None, None)
    return [
        ("name", dataset.name),
        ("digest", dataset.digest),
        ("rows", rows),
        ("columns", columns),
        ("file", str(source.get("uri") or "")),
    ]


def _loaded(text: str | None) -> dict[str, object]:
    try:
        value = json.loads(text or "")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def environment_section(runs: Sequence[RecordedRun]) -> Section:
    """Versions, machine and git; where the runs differ, the different values."""
    values: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, value in Conditions.recorded(run).facts.items():
            if value is not None and name not in SHOWN_ELSEWHERE:
                values.setdefault(name, {})[str(value)] = None
    rows = [(name, _listed(list(several))) for name, several in values.items()]
    blocks = [facts("Versions and machine", rows)] if rows else []
    return Section("environment", "Environment", blocks)


def _listed(values: Sequence[str]) -> str:
    more = len(values) - MORE
    return "; ".join(values[:MORE]) + (f"; and {more} more" if more > 0 else "")


def reproduce_section(command: str, run: RecordedRun, uri: str | None) -> Section:
    """The commands that compute it again, in the folder and at the commit of the start.

    Args:
        command: the command of the run or of the sweep.
        run: the run; of a sweep, the one to replay.
        uri: the store that was named on the command line.
    """
    folder = Conditions.recorded(run).folder
    lines = [f"cd {shlex.quote(folder)}"] if folder else []
    if COMMIT in run.tags:
        lines.append(f"git checkout {run.tags[COMMIT]}")
    lines += [command, f"python -m gdexp replay {run.run_id}{_option(uri)}"]
    blocks: list[Block] = [Code("Type", "\n".join(lines))]
    if run.tags.get(DIRTY) == "true":
        blocks.append(Sentence("The folder had changes that were not committed."))
    blocks.append(
        Sentence(f"replay computes run {run.run_id[:8]} again and compares every epoch with it.")
    )
    return Section("reproduce", "How to reproduce", blocks)


def _option(uri: str | None) -> str:
    return "" if uri is None else f" --uri {shlex.quote(without_password(uri))}"


def source(store: Store) -> str:
    """Where the numbers come from."""
    written = time.strftime("%Y-%m-%d %H:%M")
    where = without_password(store.uri)
    return (
        f"Written by gdexp {__version__} on {written} from experiment {store.experiment}, {where}."
    )
