"""``forecast`` composes and checks like a run, says what would happen, and does nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import CLI, first_quick, process, refused

PAGE = """\
curvature   60, everywhere
            since gradient=manual_sum is a sum over 4 rows, not a mean
largest lr  0.03333, 2 over the curvature
fastest lr  0.01667, 2 over the largest plus the smallest curvature
lr=0.05     diverges: in each epoch, the distance from the optimum is multiplied by 2
            the loss exceeds 10 times its start in epoch 3
"""
TABLE = """\
                          lr  largest lr  contraction  epochs  10x in epoch
lr=0.01 step=manual     0.01     0.03333          0.4       9
lr=0.01 step=optimizer  0.01      0.1333         0.85      44
lr=0.1 step=manual       0.1     0.03333            5                     2
lr=0.1 step=optimizer    0.1      0.1333          0.5      11
"""
PAGES = {
    "step=autograd stop.tolerance=1e-5": [
        "lr=0.01     converges: in each epoch, the distance from the optimum is multiplied by 0.85",
        "            the loss meets stop.tolerance=1e-05 in epoch 47, beyond iters=20",
    ],
    "gradient=manual stop.tolerance=1e-3 data.y=[1,2,3,5]": [
        "            the loss does not come down to stop.tolerance=0.001",
    ],
    "step=optimizer updater.momentum=0.9 updater.dampening=0.5": [
        "largest lr  0.5066, (2 + 2 * 0.9) / (1 - 0.5) over the curvature",
        "lr=0.01     converges: per epoch in the long run, the distance from the optimum is "
        "multiplied by 0.9487",
    ],
    "gradient=manual updater=manual_nesterov updater.momentum=0.5": [
        "largest lr  0.1, (2 + 2 * 0.5) / (1 + 2 * 0.5) over the curvature",
    ],
    "gradient=manual data=diabetes data.standardize=true predictor.bias=true": [
        "curvature   from 0.017121 to 8.0484, everywhere",
        "largest lr  0.2484, 2 over the curvature",
    ],
    "step=model loss.reduction=sum": [
        "            since loss=MSELoss is a sum over 4 rows, not a mean",
    ],
    "gradient=manual updater=manual_adam": [
        "curvature   15, everywhere",
        "largest lr  not known in advance with updater=manual_adam",
    ],
    "step=autograd data.batch_size=2": [
        "            with all rows at once; minibatches need smaller steps",
        "lr=0.01     0.075 of the largest; the course is only known with all rows and one lr",
    ],
    "step=manual data.batch_size=2": [
        "            since gradient=manual_sum is a sum over 2 rows, not a mean",
        "largest lr  0.06666, 2 over the curvature",
        "            with the sum over 2 average rows; minibatches need smaller steps",
    ],
    "step=autograd scheduler=LinearLR updater.lr=0.3": [
        "largest updater.lr       0.1333, 2 over the curvature",
        "updater.lr=0.1 at first  0.75 of the largest; the course is only known with all rows "
        "and one lr",
    ],
    "step=model predictor=mlp": [
        "curvature   about 25.8 at the start, the largest",
        "largest lr  about 0.077, 2 over the curvature: descent is stable below it at the start",
        "lr=0.01     0.129 of the largest",
    ],
    "step=model loss=L1Loss": [
        "No forecast can be given: loss=L1Loss is a straight line here, without curvature.",
    ],
}
REFUSALS = {
    "lr=-1": "lr: -1.0 is not a finite number > 0. Type for example lr=0.01.",
    "autograd": "'autograd' is not a command. Did you mean step=autograd or gradient=autograd?",
    "step=autogard": "step=autogard: ",
    "--bogus": "unrecognized arguments: --bogus. python -m gdexp --help lists what can be",
    "--cfg job": "forecast: --cfg is not for a forecast. Leave it out.",
    "--config-dir nowhere": "--config-dir: there is no folder ",
    "data=csv data.path=none.csv data.target=y": "data.path: ",
    "hydra/sweeper=optuna -m lr=0.1,0.2": "hydra/sweeper=optuna: it chooses the runs while ",
}


def test_it_says_what_an_lr_does_and_leaves_nothing_behind(workdir: Path, cli: CLI) -> None:
    assert cli("forecast", "step=manual", "lr=0.05") == (0, PAGE, "")
    assert not any(workdir.iterdir())


@pytest.mark.parametrize("flags", first_quick([((),), (("-m",),)], 1))
def test_of_a_sweep_there_is_a_row_for_each_run(
    flags: tuple[str, ...], workdir: Path, cli: CLI
) -> None:
    assert cli("forecast", "lr=0.01,0.1", "step=manual,optimizer", *flags) == (0, TABLE, "")
    assert not any(workdir.iterdir())


@pytest.mark.parametrize(
    ("words", "lines"),
    first_quick(PAGES.items(), 2),
)
def test_the_page_is_that_of_the_choices(
    words: str, lines: list[str], workdir: Path, cli: CLI
) -> None:
    ended = cli("forecast", *words.split())
    assert (ended.code, ended.err) == (0, "")
    assert [line for line in lines if line not in ended.out.splitlines()] == []


ROUNDED = {
    "lr=1e-09": ("converges", "0.99999994"),  # 1 - 60 lr
    "lr=0.0333333332": ("converges", "0.999999992"),
    "lr=0.0333333335": ("diverges", "1.00000001"),
    "lr=1e-30": ("neither converges nor diverges", "1"),
    "lr=0.01": ("converges", "0.4"),
}


@pytest.mark.parametrize("lr", ROUNDED)
def test_a_factor_that_is_not_1_is_not_rounded_to_1(lr: str, workdir: Path, cli: CLI) -> None:
    verdict, factor = ROUNDED[lr]
    lines = cli("forecast", "step=manual", lr).out.splitlines()
    (line,) = (line for line in lines if line.startswith(lr))
    pace = f"in each epoch, the distance from the optimum is multiplied by {factor}"
    assert line.removeprefix(lr).strip() == f"{verdict}: {pace}"


def test_nor_is_it_in_the_table(workdir: Path, cli: CLI) -> None:
    lines = cli("forecast", "step=manual", "lr=1e-9,0.0333333335").out.splitlines()[1:]
    assert [line.split()[2:5] for line in lines] == [
        ["1e-09", "0.03333", "0.99999994"],
        ["0.0333333335", "0.03333", "1.00000001"],
    ]


@pytest.mark.slow
def test_a_table_says_where_there_is_no_forecast(workdir: Path, cli: CLI) -> None:
    out = cli("forecast", "step=model", "loss=MSELoss,L1Loss,HuberLoss").out.splitlines()
    assert [line.split()[-1] for line in out[1:4]] == ["44", "none", "none"]
    assert out[4:] == [
        f"no forecast of 1 run: loss={name} is a straight line here, without curvature"
        for name in ("L1Loss", "HuberLoss")
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    first_quick(REFUSALS.items(), 3),
)
def test_bad_input_is_refused_as_by_a_run(
    words: str, sentence: str, workdir: Path, cli: CLI
) -> None:
    assert refused(cli, "forecast", *words.split()).startswith(sentence)


@pytest.mark.slow
def test_a_reader_that_stops_early_is_not_an_error(workdir: Path) -> None:
    ended = process("forecast", "lr=0.001,0.01,0.1", "step=manual,model", cwd=workdir)
    assert (ended.code, len(ended.out.splitlines()), ended.err) == (0, 7, "")
