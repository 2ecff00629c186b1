"""``ladder`` computes the tutorial's steps from one start, and shows why their digits differ."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from helpers import CLI, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp import run
from gdexp.commands import rungs
from gdexp.commands.rungs import OPTIONS
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.insight.comparison.changes import CHANGES
from gdexp.insight.comparison.difference import difference
from gdexp.insight.comparison.ladder import Rung, comparison, groups
from gdexp.insight.comparison.rounding import computed, explain

GOLDEN = Path(__file__).parents[1] / "descent" / "golden"
DIABETES = ("data=diabetes", "data.standardize=true", "predictor.bias=true", "lr=0.1", "iters=30")
TUTORIAL = """\
The tutorial's steps from one start (lr=0.01, 20 epochs, float32):

step                            predictor  gradient  loss     updater  final loss
1  step=manual gradient=manual  manual     manual    manual   manual   0.062379323
2  step=autograd                manual     autograd  manual   manual   0.062379144
3  step=optimizer               manual     autograd  MSELoss  SGD      0.062379144
4  step=model                   model      autograd  MSELoss  SGD      0.062379144

1 and 2 are different from epoch 1 on: param/w is 0.3 and 0.29999998 (1 ulp of float32),
  later at most 48 ulp of float32 (train/loss in epoch 20).
  Why: by hand, w is a Python float, in double precision; a tensor holds it in single.
  Experiment: with updates in single precision, all epochs are identical.

2 and 3 are identical, bit for bit: 20 epochs, 3 quantities.

"""
PUBLISHED = """\
Step 1 as published (gradient=manual_sum) is different from epoch 1 on: grad/w is -120.0,
  not -30.0.
  Why: the mean's 1/n is missing from its formula, so its gradient is 4 times the derivative
    of the loss. lr=0.01 acts like lr=0.04, so it converges faster here. It diverges above
    lr=0.03333, the other steps above 0.1333.
  Experiment: with its gradient divided by 4, all epochs are identical.

To record the steps as published: python -m gdexp -m step=manual,autograd,optimizer,model
"""


def test_the_four_steps(workdir: Path, cli: CLI) -> None:
    ended = cli("ladder")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(TUTORIAL)
    assert ended.out.endswith(PUBLISHED)
    assert "3 and 4 are " in ended.out  # whether they agree depends on torch's matrix product
    assert max(map(len, ended.out.splitlines())) <= 92
    assert not any(workdir.iterdir())


@cache
def jobs(*typed: str, step: bool = False) -> list[Job]:
    """The jobs of all combinations, or of the four steps."""
    with session():
        wanted = rungs.steps([]) if step else rungs.combinations([])
        return [job for _, job in rungs.composed(wanted, ["tracking=off", *typed], Composer())]


def changed(job: Job, lr: float, **settings: float | str) -> Job:
    """The job with other numbers."""
    updater = job.settings["updater"] | {"lr": lr}
    return replace(job, settings=job.settings | {"lr": lr, "updater": updater} | settings)


@pytest.mark.slow
def test_a_rung_is_the_run_of_its_options(workdir: Path) -> None:
    job = jobs(*DIABETES, step=True)[-1]
    alone = run(*job.typed).trajectory
    assert difference(computed(job), alone) is None


def test_step_1_as_published_has_the_tutorials_digits(workdir: Path) -> None:
    with session():
        ((_, job),) = rungs.composed([("step=manual",)], ["print_every=1", "iters=10"], Composer())
    trajectory = computed(job)
    columns = zip(
        trajectory.epochs, trajectory.parameters["w"], trajectory.loss, trajectory.gradients["w"],
        strict=True,
    )  # fmt: skip
    lines = [
        f"epoch {k}: w = {w:.3f}, loss = {v:.8f}, gradient = {g:.3f}" for k, w, v, g in columns
    ]
    assert lines == (GOLDEN / "step1_numpy_10_iters.txt").read_text().splitlines()[:10]


def recomputed(lr: float, iters: int, kind: type[np.floating]) -> np.ndarray:
    """The tutorial's step with w in a precision, one operation at a time: w after each epoch."""
    x = np.array([1, 2, 3, 4], dtype=np.float32)
    w, curve = kind(0), []
    for _ in range(iters):
        gradient = (2 * x * (np.float32(w) * x - 2 * x)).mean()
        w = kind(w - kind(kind(lr) * kind(gradient)))
        curve.append(float(w))
    return np.array(curve)


@settings(max_examples=10, deadline=None)
@given(lr=st.floats(1e-4, 0.2), iters=st.integers(1, 40))
def test_the_precision_of_w_is_what_step_1_and_2_differ_in(lr: float, iters: int) -> None:
    by_hand, autograd = (computed(changed(job, lr, iters=iters)) for job in jobs(step=True)[:2])
    for trajectory, kind in ((by_hand, np.float64), (autograd, np.float32)):
        w = recomputed(lr, iters, kind)
        assert trajectory.parameters["w"].tolist() == w[: trajectory.length].tolist()


ANY = {
    "lr": st.floats(1e-3, 0.3),
    "iters": st.integers(1, 30),
    "dtype": st.sampled_from(["float32", "float64"]),
    "biased": st.booleans(),
}


@settings(max_examples=4, deadline=None, database=None)
@given(lr=ANY["lr"], iters=ANY["iters"], dtype=ANY["dtype"])
def test_a_group_is_one_descent_and_every_difference_is_explained(
    lr: float, iters: int, dtype: str
) -> None:
    are_explained([changed(job, lr, iters=iters, dtype=dtype) for job in jobs(step=True)])


@pytest.mark.slow
@settings(max_examples=7, deadline=None)
@given(**ANY)
def test_of_many_descents_every_difference_is_explained(
    lr: float, iters: int, dtype: str, biased: bool
) -> None:
    words = ("predictor.bias=true",) if biased else ()
    are_explained([changed(job, lr, iters=iters, dtype=dtype) for job in jobs(*words)])


def are_explained(chosen: list[Job]) -> None:
    """These are in groups of the same bytes, and experiments remove what differs."""
    all_rungs = [Rung((), job, trajectory=computed(job)) for job in chosen]
    grouped = groups(all_rungs)
    assert sum(map(len, grouped)) == len(chosen)
    for group in grouped:
        for a, b in itertools.pairwise(group):
            tables = [np.stack([*rung.trajectory.columns().values()]) for rung in (a, b)]
            assert tables[0].tobytes() == tables[1].tobytes()
    for one, other in itertools.pairwise(grouped):
        why = explain(one[0].job, other[0].job)
        assert why.changes
        assert why.rest is None


@pytest.mark.slow
def test_each_cause_is_told_where_it_is_the_only_one(workdir: Path) -> None:
    single, module, formula, sgd, numpy = CHANGES
    causes = {
        ("gradient=autograd", "gradient=manual"): {formula},
        ("updater=SGD", "updater=manual"): {sgd},
    }
    told = {}
    for options in causes:
        with session():
            wanted = [(option,) for option in options]
            same = ["predictor=model", "loss=MSELoss", *DIABETES]
            same += ["gradient=autograd"] if "updater=SGD" in options else ["updater=SGD"]
            pair = [job for _, job in rungs.composed(wanted, same, Composer())]
        told[options] = set(explain(*pair).changes)
    assert told == causes
    by_hand, autograd = jobs(*DIABETES, step=True)[:2]
    assert set(explain(by_hand, autograd).changes) == {formula, numpy}
    by_hand, autograd = jobs(step=True)[:2]
    assert explain(by_hand, autograd).changes == (single,)
    assert module not in explain(by_hand, autograd).changes


def test_identical_descents_need_no_reason(workdir: Path) -> None:
    _, autograd, optimizer, _ = jobs(step=True)
    assert explain(autograd, optimizer) == ((), None, 20)


def test_what_is_not_known_is_not_explained(workdir: Path) -> None:
    pair = [changed(jobs(step=True)[0], lr, iters=5) for lr in (0.01, 0.02)]
    assert [*comparison(*(Rung((), job, trajectory=computed(job)) for job in pair))] == [
        "different from epoch 1 on: param/w is 0.3 and 0.6.",
        "Why: no known cause explains it."
    ]  # fmt: skip


@pytest.mark.slow
def test_all_combinations(workdir: Path, cli: CLI) -> None:
    ended = cli("ladder", "--all", "iters=3")
    assert (ended.code, ended.err) == (0, "")
    first, _, head, *rows = ended.out.splitlines()
    many = re.match(
        r"16 combinations from one start \(lr=0.01, 3 epochs, float32\) give (.*):", first
    )
    assert many
    assert head.split() == ["group", *OPTIONS, "final", "loss"]
    shown = [row.split() for row in rows[:16]]
    assert {tuple(row[1:5]) for row in shown} == {*itertools.product(*OPTIONS.values())}
    assert [row[0] for row in shown] == sorted(row[0] for row in shown)
    assert shown[0] == ["A", *["manual"] * 4, "15.660187"]
    assert ended.out.splitlines()[-1].endswith("-m " + " ".join(
        f"{family}={','.join(options)}" for family, options in OPTIONS.items()
    ) + " iters=3")  # fmt: skip
    assert not any(workdir.iterdir())


@pytest.mark.slow
def test_options_that_are_typed_hold_for_all(workdir: Path, cli: CLI) -> None:
    out = cli("ladder", "gradient=manual", "iters=2").out
    assert "\n1/2  step=manual " in out
    assert "Step 1 as published" not in out
    out = cli("ladder", "--all", "updater=Adam", "gradient=manual_sum", "iters=2").out
    assert out.startswith("4 combinations from one start ")
    assert "manual_sum  MSELoss  Adam" in out


def test_a_step_that_diverges(workdir: Path, cli: CLI) -> None:
    out = cli("ladder", "lr=0.05").out
    assert "lr=0.05 acts like lr=0.2, and diverges. It diverges above lr=0.03333" in out.replace(
        "\n    ", " "
    )
    assert cli("ladder", "lr=0.5", "iters=500").out.count(" diverged\n") == 4


@pytest.mark.slow
def test_the_command_that_records_is_quoted_and_records(workdir: Path, cli: CLI) -> None:
    out = cli("ladder", "data.x=[1,2]", "data.y=[2,5]", "tracking=off").out
    assert out.splitlines()[-1].endswith("model 'data.x=[1,2]' 'data.y=[2,5]'")
    assert "its gradient is 2 times the derivative" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("step=model", "step=model: the ladder compares all four steps. Leave it out."),
        ("continue_from=x",
         "continue_from=x: the ladder compares runs from one start. Leave it out."),
        ("lr=0.1,0.2", "lr=0.1,0.2 names several values, and the ladder takes one. Choose one."),
        ("lr=-1", "lr: -1.0 is not a finite number > 0. Type for example lr=0.01."),
        ("lrr=1", "lrr: a run has no setting 'lrr'. Did you mean lr?"),
        ("autogradd",
         "'autogradd' is not a command. Did you mean step=autograd or gradient=autograd?"),
        ("updater.momentum=0.9",
         "with step=manual gradient=manual, updater.momentum: updater=manual has no setting "
         "'momentum'. It has: lr. updater.momentum is a setting of updater=Muon, RMSprop, SGD, "
         "manual_momentum, manual_nesterov. Choose one updater for all, as in updater=SGD."),
        ("--all loss=L1Loss",
         "with predictor=manual gradient=manual updater=manual, gradient=manual: the formula is "
         "derived for the mean squared error of a linear predictor, not for loss=L1Loss. "
         "Type gradient=autograd."),
        ("predictor=model gradient=autograd loss=MSELoss updater=SGD",
         "the typed options leave nothing to compare. Leave one of them out."),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(
    words: str, sentence: str, workdir: Path, cli: CLI
) -> None:
    assert refused(cli, "ladder", *words.split()) == sentence


@pytest.mark.slow
def test_a_component_that_breaks(mine: tuple[str, ...], cli: CLI) -> None:
    _, _, _, loss = mine
    ended = cli("ladder", "--config-dir", "mine", loss, "gradient=autograd", "loss.breaks=true")
    assert ended.code == 2
    assert ended.err.endswith("no more\n")


def test_experiments_are_as_long_as_the_run_or_say_so(workdir: Path) -> None:
    by_hand, autograd = (
        Rung((), job, trajectory=computed(job))
        for job in (changed(job, 0.01, iters=1001) for job in jobs(step=True)[:2])
    )
    assert [*comparison(by_hand, autograd)][-1] == (
        "Experiment: with updates in single precision, the first 1000 epochs are identical."
    )


def test_a_difference_that_comes_late_is_explained_too(monkeypatch: pytest.MonkeyPatch) -> None:
    late = [changed(job, 0.05, iters=20) for job in jobs(step=True)[:2]]
    pair = [Rung((), job, trajectory=computed(job)) for job in late]
    first = difference(pair[0].trajectory, pair[1].trajectory, "float32")
    assert first is not None
    assert first.first.epoch > 5
    monkeypatch.setattr("gdexp.insight.comparison.rounding.LONGEST", 5)
    assert [*comparison(*pair)][-1] == (
        "Experiment: with updates in single precision, the first "
        f"{first.first.epoch} epochs are identical."
    )


@pytest.mark.slow
def test_of_minibatches_the_factor_is_their_size(workdir: Path, cli: CLI) -> None:
    out = " ".join(cli("ladder", "data.batch_size=2", "predictor.init=0.3").out.split())
    assert "so its gradient is 2 times the derivative of the loss." in out
    assert "with its gradient divided by 2, all epochs are identical." in out
