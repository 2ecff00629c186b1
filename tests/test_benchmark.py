import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "benchmark.py"
STEPS = ("manual", "autograd", "optimizer", "model")


def table(folder: Path, *words: str) -> list[str]:
    command = [sys.executable, str(SCRIPT), "--quick", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == []
    return done.stdout.splitlines()


@pytest.mark.slow
def test_chosen_rows_are_measured_and_judged(tmp_path):
    head, *rows, machine = table(tmp_path, "--only", "loop, step")
    assert head.split() == ["what", "against", "measured", "target", "how"]
    assert [row.split()[1] for row in rows] == [f"step={step}" for step in STEPS]
    for row in rows:
        ratio, bound, verdict = re.search(r"  ([\d.]+)x +<= ([\d.]+)x +(ok|miss) ", row).groups()
        within = float(ratio) <= float(bound)
        assert verdict == ("ok" if within else "miss") or float(ratio) == float(bound)
    assert "Python" in machine
    assert "torch" in machine


@pytest.mark.slow
def test_a_sweep_is_measured_against_programs_without_gdexp(tmp_path):
    chosen = ("sweep, diabetes, Adam, MLP", "sweep, step=manual")
    _, *rows, _ = table(tmp_path, *(word for name in chosen for word in ("--only", name)))
    assert len(rows) == 3
    timed = re.compile(r"x faster +>= \d+x faster +(ok|miss) +(CPU )?[\d.]+ s and ")
    assert all(timed.search(row) for row in rows)


def test_help_lists_the_rows_and_how_to_run_one(tmp_path):
    command = [sys.executable, str(SCRIPT), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert 'benchmark.py --only "record, step=manual"' in done.stdout
    for step in STEPS:
        assert f"record, step={step}, tracking=off" in done.stdout


def test_an_unknown_row_lists_the_rows(tmp_path):
    command = [sys.executable, str(SCRIPT), "--only", "nonsense"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no row's name contains 'nonsense'. The rows are: loop, step=manual" in done.stderr


def test_a_row_that_takes_minutes_asks_for_its_flag(tmp_path):
    command = [sys.executable, str(SCRIPT), "--only", "sweep, memory, 10"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r" -  +<= 1 GiB  +-  +takes minutes: add --long$", done.stdout, re.MULTILINE)


def test_a_program_computed_alone_has_a_price(tmp_path):
    _, row, _ = table(tmp_path, "--only", "sweep, an epoch")
    spent, verdict, cpu = re.search(
        r"  ([\d.]+) ns  +<= 12 ns +(ok|miss) .* CPU (.*) ns$", row
    ).groups()
    assert verdict == ("ok" if float(spent) <= 12 else "miss")
    assert float(cpu) > 0


@pytest.mark.slow
def test_the_stages_of_a_sweep_are_all_of_it(tmp_path):
    _, row, _ = table(tmp_path, "--only", "sweep, time")
    shares = [float(share) for share in re.findall(r" ([\d.]+)%", row)]
    assert len(shares) == 7
    assert sum(shares) == pytest.approx(100, abs=0.4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "groups",
    [
        (
            *("data, ", "fit, ", "sweep, computing"),
            *("check, a network", "forecast, a network", "run, step=manual, check"),
        ),
        (
            *("record, step=manual", "record, into", "start, python"),
            *("tracked, step=autograd, each iteration, torch", "pictures of"),
        ),
    ],
    ids=["in this process", "processes"],
)
def test_rows_are_measured(tmp_path, groups):
    words = [word for group in groups for word in ("--only", group)]
    measured = set()
    for row in table(tmp_path, *words)[1:-1]:
        name = re.sub(" {2,}", ", ", row)
        measured |= (of := {group for group in groups if name.startswith(group)})
        assert of, row
        assert re.search(r" (ok|miss|none) | not installed", row)
    assert measured == {*groups}
