"""The commands of the soak: what is started, when it is struck, and how it goes on."""

from __future__ import annotations

import multiprocessing
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import soak_victim
from soak_log import Case, Log
from soak_processes import Forked, Program, listens, orphans
from soak_victim import Plan

ROOT = Path(__file__).resolve().parent.parent
GRID = ("gradient=manual,manual_sum", "lr=0.01,10", "iters=5,9")
KINDS: dict[str, tuple[int, int, tuple[str, ...]]] = {  # weight, runs, words
    "short run": (3, 1, ("iters=40", "lr=1e-4")),
    "long run": (4, 1, ("iters=20000", "lr=1e-6", "print_every=100")),
    "checkpoints": (2, 1, ("iters=4000", "lr=1e-6", "print_every=100", "checkpoint.every=1000")),
    "sweep": (6, 8, ("-m", *GRID)),
    "one by one": (3, 4, ("-m", "hydra/launcher=basic", "lr=0.01,10", "iters=5,9")),
}
SIGNALS = [signal.SIGKILL] * 7 + [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class Ended(NamedTuple):
    """How a command ended, and the processes it left behind."""

    code: int
    out: str
    err: str
    left: list[int]


@dataclass
class Place:
    """Where the commands of a round run.

    Attributes:
        folder: the working folder.
        env: the environment that names the store.
        recorded: asks the store whether it has a sweep of this id.
    """

    folder: Path
    env: Mapping[str, str]
    recorded: Callable[[str], bool]


class Cases:
    """Performs cases, and counts the strikes.

    Args:
        seed: of all chances.
        forks: whether commands are forked from a process that has imported gdexp, which spares
            the imports; else each is a program of its own.
    """

    def __init__(self, seed: int, forks: bool) -> None:
        self.struck: Counter[str] = Counter()
        self._seed, self._forks = seed, forks
        self._lock = threading.Lock()
        self._usual: dict[str, tuple[float, int]] = {}  # seconds and writes of each kind
        self._context = multiprocessing.get_context("forkserver")
        if forks:
            self._context.set_forkserver_preload(soak_victim.modules())

    @property
    def kills(self) -> int:
        """How many processes a signal has ended."""
        return sum(self.struck.values())

    def calibrate(self, log: Log, place: Place) -> None:
        """Perform a case of each kind undisturbed, once, to learn how long it takes."""
        if self._usual:
            return
        for number, kind in enumerate(KINDS):
            case = self._case(kind, 900 + number)
            log.started(case)
            count, began = place.folder / "count", time.monotonic()
            self._step(case, log, place, Plan(case.words, brisk=True, count=str(count)))
            self._usual[kind] = time.monotonic() - began, int(count.read_text())
            count.unlink()

    def perform(self, number: int, log: Log, place: Place) -> None:
        """Perform the case of this number; the store must be as if nothing had disturbed it."""
        chance = random.Random(f"{self._seed} {number}")
        kind = chance.choices([*KINDS], [weight for weight, *_ in KINDS.values()])[0]
        case = self._case(kind, 1000 + number)
        log.started(case)
        for _ in range(chance.choice((1, 1, 2)) if case.sweep_id else 1):
            plan = self._struck_plan(chance, case.kind, Plan(self._words(case, place)))
            if self._step(case, log, place, plan, chance) == 0:
                break
        if chance.random() < 0.25:
            self._read(case, place, chance)
        if case.sweep_id and not case.is_done:
            self._step(case, log, place, Plan(self._words(case, place)))
            if not case.is_done:
                case.problems.append(("incomplete", "the sweep was not completed by resuming it"))

    def _case(self, kind: str, seed: int) -> Case:
        _, jobs, words = KINDS[kind]
        sweep_id = f"s{seed}" if words[0] == "-m" else ""
        folder = (f"hydra.sweep.dir=outputs/sweeps/{sweep_id}",) if sweep_id else ()
        return Case(kind, seed, (*words, f"seed={seed}", *folder), jobs, sweep_id)

    def _words(self, case: Case, place: Place) -> tuple[str, ...]:
        """The command line, which resumes a sweep if it got so far that there is one."""
        resumes = case.sweep_id and place.recorded(case.sweep_id)
        return (*case.words, f"sweep.resume={case.sweep_id}") if resumes else case.words

    def _struck_plan(self, chance: random.Random, kind: str, plan: Plan) -> Plan:
        plan = replace(plan, signum=chance.choice(SIGNALS), brisk=chance.random() < 0.8)
        if chance.random() < 0.6:
            delay = chance.choice((0.0, 0.0, chance.uniform(0, 0.02)))
            writes = self._usual[kind][1]
            return replace(plan, write=chance.randint(1, writes), delay=delay)
        is_api = plan.signum == signal.SIGKILL and "sweep.resume" not in " ".join(plan.words)
        return replace(plan, api=is_api and chance.random() < 0.3)

    def _read(self, case: Case, place: Place, chance: random.Random) -> None:
        """A reader after the kill, struck at times; it must not break what it reads."""
        plan = Plan(("compare", "--all"), signum=chance.choice(SIGNALS))
        plan = replace(plan, write=chance.choice((0, 0, 1, 2)))
        ended = self._process(plan, place, f"{case.seed}-read")
        self._judge(case, plan, ended, struck=True, allowed=(0, 2))  # 2: nothing is recorded yet

    def command(self, place: Place, *words: str) -> Ended:
        """A command that nothing disturbs."""
        return self._process(Plan(words), place, f"{words[0]}-{time.monotonic_ns()}")

    def _step(
        self, case: Case, log: Log, place: Place, plan: Plan, chance: random.Random | None = None
    ) -> int:
        """One process of a case, and what the log learns from it."""
        moment = None
        if chance is not None and not plan.write:
            moment = chance.uniform(0, self._usual[case.kind][0])
        ended = self._process(plan, place, f"{case.seed}-{time.monotonic_ns()}", moment)
        log.ended(case, ended.code, ended.out, ended.err)
        self._judge(case, plan, ended, struck=chance is not None)
        return ended.code

    def _judge(
        self,
        case: Case,
        plan: Plan,
        ended: Ended,
        *,
        struck: bool,
        allowed: tuple[int, ...] = (0,),
    ) -> None:
        code, err = ended.code, ended.err
        if struck and code == (-9 if plan.signum == signal.SIGKILL else 128 + plan.signum):
            with self._lock:
                self.struck[signal.Signals(plan.signum).name] += 1
        elif code not in allowed:
            case.problems.append(("exit code", f"{code} of {plan.text()}: {err[-600:]}"))
        if any(word in err for word in ("Traceback", "Exception ignored", "Warning:")):
            case.problems.append(("traceback", f"{plan.text()}: {err[-1500:]}"))
        if ended.left:
            case.problems.append(("left over", f"processes {ended.left} of {plan.text()}"))

    def _process(self, plan: Plan, place: Place, name: str, moment: float | None = None) -> Ended:
        """Start a command, strike it at a moment if one is given, and wait for its end."""
        logs = place.folder / "logs"
        out, err = logs / f"{name}.out", logs / f"{name}.err"
        env = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **place.env}
        plan = replace(plan, folder=str(place.folder), out=str(out), err=str(err), env=env)
        victim = Forked(self._context, plan) if self._forks else Program(plan)
        if moment is not None and listens(victim.pid):
            time.sleep(moment)
            victim.strike(plan.signum)
        code = victim.wait()
        texts = [path.read_text() if path.exists() else "" for path in (out, err)]
        return Ended(code, texts[0], texts[1], orphans(victim.pid))
