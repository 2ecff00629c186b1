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


def test_chosen_rows_are_measured_and_judged(tmp_path):
    head, *rows, machine = table(tmp_path, "--only", "loop, step")
    assert head.split() == ["what", "against", "ratio", "target", "how", "measured"]
    assert [row.split()[1] for row in rows] == [f"step={step}" for step in STEPS]
    for row in rows:
        ratio, verdict = re.search(r"  ([\d.]+)x +<= 1.05x +(ok|miss) ", row).groups()
        assert verdict == ("ok" if float(ratio) <= 1.05 else "miss") or ratio == "1.05"
    assert "Python" in machine
    assert "torch" in machine


def test_an_unknown_row_lists_the_rows(tmp_path):
    command = [sys.executable, str(SCRIPT), "--only", "nonsense"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no row is called 'nonsense'. The rows are: loop, step=manual" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_row_is_measured(tmp_path):
    rows = table(tmp_path)[1:-1]
    assert [row.split(",")[0] for row in rows] == ["loop"] * 4 + ["tracked"] * 5 + ["start"] * 3 + [
        "data"
    ] * 3
    for row in rows:
        assert " ok " in row or " miss " in row or "not installed" in row
