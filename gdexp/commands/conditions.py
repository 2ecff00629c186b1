"""What surrounds a run and may explain another result: versions, machine, data, git."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gdexp.config import __version__
from gdexp.config.job import Job
from gdexp.descent.result import Result
from gdexp.tracking import environment
from gdexp.tracking.facts import VARIABLES, environment_tag
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.tags import COMMIT, CONFIG_HASH, DIFF, ENVIRONMENT, TOGETHER, VERSION

TAGS = {  # what to call them
    VERSION: "gdexp",
    COMMIT: "git commit",
    DIFF: "digest of the uncommitted changes",
    CONFIG_HASH: "digest of the settings",
}
CALLED = {"data": "digest of the data", "cpus": "processors"}


@dataclass(frozen=True)
class Conditions:
    """What surrounds a run.

    Attributes:
        facts: what is known, by name; None if it does not exist.
        folder: where the run was started; "" if unknown.
        together: the number of runs that were computed as one program; None if unknown or alone.
        is_known: whether the machine and the versions are.
    """

    facts: Mapping[str, Any]
    folder: str
    together: int | None
    is_known: bool

    @classmethod
    def recorded(cls, run: RecordedRun) -> Conditions:
        """Those of a recorded run, as far as its version of gdexp recorded them."""
        try:
            known = json.loads(run.tags.get(ENVIRONMENT, ""))
        except ValueError:  # an older version, or edited by hand
            known = {}
        if not (isinstance(known, dict) and isinstance(known.get("variables"), dict)):
            known = {}
        together = run.tags.get(TOGETHER, "")
        number = int(together) if together.isdecimal() and len(together) < 10 else None
        return cls._of(known, run.tags, number)

    @classmethod
    def of(cls, job: Job, result: Result) -> Conditions:
        """Those of a run that this process has just computed."""
        assert result.data is not None
        known = json.loads(environment_tag(job, result.data)[ENVIRONMENT])
        tags = {VERSION: __version__, CONFIG_HASH: job.config_hash, **environment.git()}
        return cls._of(known, tags, result.together)

    @classmethod
    def _of(
        cls, known: dict[str, Any], tags: Mapping[str, str], together: int | None
    ) -> Conditions:
        folder = str(known.pop("folder", ""))
        facts: dict[str, Any] = {name: tags.get(tag) for tag, name in TAGS.items()}
        if known:
            variables = known.pop("variables")
            facts |= {CALLED.get(name, name): _plain(value) for name, value in known.items()}
            facts |= {name: _plain(variables.get(name)) for name in VARIABLES}
        return cls(facts, folder, together, bool(known))

    @property
    def has_commit(self) -> bool:
        """Whether the folder of the start was in a git repository."""
        return self.facts[TAGS[COMMIT]] is not None

    def differences(self, now: Conditions) -> Iterator[tuple[str, Any, Any]]:
        """What both know and is not the same: name, value here, value now."""
        for name, value in self.facts.items():
            if name in now.facts and value != now.facts[name]:
                yield name, value, now.facts[name]


def _plain(value: Any) -> Any:
    """The value of a fact; as JSON, if somebody has edited it into a list or an object."""
    return json.dumps(value) if isinstance(value, list | dict) else value
