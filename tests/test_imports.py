"""What is imported when: light starts, and arrows that point one way only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import CHECKOUT, clean_environment

PACKAGE = CHECKOUT / "gdexp"
HEAVY = {"torch", "mlflow", "pandas", "pyarrow", "matplotlib", "sqlalchemy", "rich"}


def loaded_by(code: str, cwd: Path) -> set[str]:
    program = (
        f"import sys\nsys.argv[0] = 'gdexp'\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
        "print('\\n' + '\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=clean_environment(),
    )
    assert "gdexp" in done.stderr, done.stderr
    return {name.split(".")[0] for name in done.stderr.splitlines()}


@pytest.mark.parametrize(
    "code",
    [
        "import gdexp",
        "from gdexp import manual, descent",
        "from gdexp.commands import main; sys.argv[1:] = ['--help']; main()",
        "from gdexp.commands import main; sys.argv[1:] = ['--cfg', 'job']; main()",
        "from gdexp.commands import main; sys.argv[1:] = ['step=model', '--cfg', 'job']; main()",
        "from gdexp.commands import main; sys.argv[1:] = ['lr=-1']; main()",
        "from gdexp.commands import main; sys.argv[1:] = ['step=autogradd']; main()",
        "from gdexp.commands import main; sys.argv[1:] = ['step=model', 'updater.lr=x']; main()",
        "from gdexp.commands import main; sys.argv[1:] = ['step=model', '++updater.x=1']; main()",
        "from gdexp.commands import main; sys.argv[1:] = ['tracking.uri=nowhere']; main()",
        "from gdexp.commands import main; sys.argv[1:] = ['step=manual', 'tracking=off']; main()",
        "import gdexp; gdexp.run('step=manual', 'tracking=off')",
        "import gdexp.pytorch.capabilities",
        "import gdexp.commands.compare, gdexp.commands.predict, gdexp.commands.ui",
    ],
)
def test_light_starts_import_nothing_heavy(code: str, tmp_path: Path) -> None:
    assert loaded_by(code, tmp_path) & HEAVY == set()


def test_the_check_for_light_starts_would_see_torch(tmp_path: Path) -> None:
    assert "torch" in loaded_by("from gdexp.pytorch import Linear", tmp_path)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def test_no_file_outgrows_one_idea() -> None:
    lengths = {module_name(p): len(p.read_text().splitlines()) for p in PACKAGE.rglob("*.py")}
    assert {name: n for name, n in lengths.items() if n > 260} == {}


def test_nothing_is_visible_at_the_top_level_but_the_agreed_entries() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.split()
    visible = {name.split("/")[0] for name in tracked if not name.startswith(".")}
    assert visible <= {
        "conf",
        "gdexp",
        "scripts",
        "tests",
        "outputs",
        "pyproject.toml",
        "README.md",
    }
