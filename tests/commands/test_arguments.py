"""The first word names a command; all else is Hydra's, and a word that is neither is refused."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Ended, process
from hydra import version

from gdexp.commands import COMMANDS
from gdexp.commands.arguments import parse
from gdexp.errors import ConfigError

CLI = Callable[..., Ended]

SEE_HELP = "python -m gdexp --help lists what can be typed."
REFUSED = {
    # a word that was meant for a command, an option, a group or a key
    "compar": "'compar' is not a command. Did you mean compare?",
    "lr=0.1 comprae": "'comprae' is not a command. Did you mean compare?",
    "autograd": "'autograd' is not a command. Did you mean step=autograd or gradient=autograd?",
    "autogard": "'autogard' is not a command. Did you mean step=autograd or gradient=autograd?",
    "mseloss": "'mseloss' is not a command. Did you mean loss=MSELoss?",
    "mlp": "'mlp' is not a command. Did you mean predictor=mlp?",
    "standardize": "'standardize' is not a command. Did you mean data.standardize=false?",
    "nesterov": "'nesterov' is not a command. Did you mean updater.nesterov=true?",
    "itres": "'itres' is not a command. Did you mean iters=20?",
    "zebra": f"'zebra' is not a command. {SEE_HELP}",
    "-1": f"'-1' is not a command. {SEE_HELP}",
    "compare.csv": "'compare.csv' is not a command. Did you mean compare?",
    "run": "'run' is not a command: a run needs none. Leave it out, as in "
    "python -m gdexp step=autograd.",
    "run step=autograd": "'run' is not a command: a run needs none. Leave it out, as in "
    "python -m gdexp step=autograd.",
    # a setting without its value
    "lr": "'lr' has no value. Type for example lr=0.01.",
    "step=model lr": "'lr' has no value. Type for example lr=0.01.",
    "lr 0.1": "'lr' has no value. Type lr=0.1.",
    "lr = 0.1": "'lr' has no value. Type lr=0.1.",
    "lr =0.1": "'lr' has no value. Type lr=0.1.",
    "lr= 0.1": "lr= 0.1: remove the space after =. Type lr=0.1.",
    "lr:0.1": "lr:0.1: a setting and its value are joined by =. Type lr=0.1.",
    "-m lr=0.1, 0.2": "lr=0.1, 0.2: remove the space at the comma. Type lr=0.1,0.2.",
    "-m lr=1 ,2 , 3 step=model": "lr=1 ,2: remove the space at the comma. Type lr=1,2,3.",
    "data.x=[1, 2, 3]": "data.x=[1, 2,: remove the space at the comma. Type 'data.x=[1,2,3]'.",
    "resume": "'resume' is not a command. Did you mean sweep.resume=last?",
    "lr iters=5": "'lr' has no value. Type for example lr=0.01.",
    "step": "'step' has no value. step is one of: manual, autograd, optimizer, model.",
    "step model": "'step' has no value. Type step=model.",
    "updater.momentum 0.9": "'updater.momentum' has no value. Type updater.momentum=0.9.",
    # a command that is not the first word
    "lr=0.1 compare": "compare is a command: it comes first, as in python -m gdexp compare.",
    "-m compare": "compare is a command: it comes first, as in python -m gdexp compare.",
    "--config-dir nowhere ui": "ui is a command: it comes first, as in python -m gdexp ui.",
    "--help predict": "predict is a command: it comes first, as in python -m gdexp predict.",
    # flags that are none
    "--lr 0.1": "--lr: settings are typed without dashes, as in lr=0.1.",
    "--lr=0.1": "--lr=0.1: settings are typed without dashes, as in lr=0.1.",
    "-lr": "-lr: settings are typed without dashes, as in lr=0.01.",
    "-iters 5": "-iters: settings are typed without dashes, as in iters=5.",
    "-m --step=model": "--step=model: settings are typed without dashes, as in step=model.",
    "-predictor.bias=true": "-predictor.bias=true: settings are typed without dashes, as in "
    "predictor.bias=true.",
    "--learning-rate 0.1": "--learning-rate: settings are typed without dashes, as in lr=0.1.",
    "--epochs=5": "--epochs=5: settings are typed without dashes, as in iters=5.",
    "epochs 5": "'epochs' is not a command. Did you mean iters=20?",
    "learning_rate=0.1": "learning_rate: a run has no setting 'learning_rate'. Did you mean lr?",
    "optimizer=Adam": "optimizer: a run has no setting 'optimizer'. Did you mean updater?",
    "--resolve lr=1": "--resolve only changes what --cfg prints. Add --cfg job.",
    "-p lr": "--package only changes what --cfg prints. Add --cfg job.",
    "lr=1 -cp conf": "--config-path: gdexp needs its own configuration files. Add yours with "
    "--config-dir conf",
    "hydra/sweeper=null": "hydra/sweeper=null: name an option, or leave hydra/sweeper out.",
    "-m hydra/launcher= lr=1,2": "hydra/launcher=: name an option, or leave hydra/launcher out.",
    "--compare": "--compare: compare is a command. Type python -m gdexp compare.",
    "--multirn lr=1": f"unrecognized arguments: --multirn. Did you mean --multirun? {SEE_HELP}",
    "--bogus": f"unrecognized arguments: --bogus. {SEE_HELP}",
    "--config-dir": f"argument --config-dir/-cd: expected one argument. {SEE_HELP}",
}


@pytest.mark.parametrize(("typed", "sentence"), REFUSED.items(), ids=list(REFUSED))
def test_a_word_that_is_neither_is_refused(
    typed: str, sentence: str, workdir: Path, cli: CLI
) -> None:
    assert cli(*typed.split()) == (2, "", f"gdexp: {sentence}\n")
    assert not any(workdir.iterdir())


def test_an_empty_word(workdir: Path, cli: CLI) -> None:
    assert cli("") == (2, "", f"gdexp: '' is not a command. {SEE_HELP}\n")


def test_the_users_own_options_are_known(workdir: Path) -> None:
    (workdir / "mine" / "loss").mkdir(parents=True)
    (workdir / "mine" / "loss" / "absolute.yaml").write_text("_target_: a.B\nscale: 2.5  # x\n")
    with pytest.raises(ConfigError, match=r"'absolut' is not a command\. Did you mean loss=abs"):
        parse(["--config-dir", "mine", "absolut"])
    with pytest.raises(ConfigError, match=r"Did you mean loss\.scale=2\.5\?"):
        parse(["--config-dir", "mine", "scale"])
    with pytest.raises(ConfigError, match=r"there is no folder .*nowhere"):
        parse(["--config-dir", "nowhere", "scale"])


@pytest.mark.parametrize(
    "typed",
    [
        [],
        ["lr=0.1"],
        ["-m", "lr=0.1,0.2"],
        ["--multirun", "lr=0.1", "~scheduler", "+a=b", "++c=d"],
        ["--config-dir", "mine", "step=model"],
        ["--config-dir=mine", "-c", "job", "--resolve"],
        ["-sc", "install=bash"],
        ["--hydra-help"],
        ["--info", "plugins"],
        ["-cn", "other"],
        ["--mult", "lr=1"],
        ["data.path=my table.csv", "data.features=[a, b]"],
    ],
)
def test_what_hydra_reads_is_read_as_hydra_reads_it(typed: list[str]) -> None:
    from hydra._internal.utils import get_args_parser

    assert parse(typed) == get_args_parser().parse_args(typed)


@pytest.mark.parametrize(
    "typed",
    [
        ["lr=0.1", "-m", "iters=5"],
        ["step=manual", "--config-dir", "mine", "lr=1"],
        ["a=1", "-c", "job", "b=2", "--resolve", "c=3"],
    ],
)
def test_flags_may_stand_between_settings(typed: list[str]) -> None:
    from hydra._internal.utils import get_args_parser

    settings = [word for word in typed if "=" in word]
    flags = [word for word in typed if "=" not in word]
    assert parse(typed) == get_args_parser().parse_args([*flags, *settings])


def test_the_version_is_our_own(cli: CLI) -> None:
    from gdexp import __version__

    assert cli("--version") == (0, f"gdexp {__version__}\n", "")


def test_the_help_page_lists_engines_and_launchers(cli: CLI) -> None:
    page = cli("--help").out
    for word in ("engine=local", "workers=null", "address=null"):
        assert f"    hydra.launcher.{word} " in page
    for option in ("launcher=vectorized", "launcher=joblib", "launcher=basic", "sweeper=grid"):
        assert f"  hydra/{option} " in page


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_page_of_its_own(name: str, cli: CLI) -> None:
    page = cli(name, "--help")
    assert (page.code, page.err) == (0, "")
    assert page.out.startswith(f"usage: python -m gdexp {name} ")
    line = COMMANDS[name]
    assert f"{line[0].upper()}{line[1:]}." in page.out
    assert cli("help", name) == page


def test_the_help_page_lists_the_commands(cli: CLI) -> None:
    page = cli("--help")
    assert (page.code, page.err) == (0, "")
    for name, line in COMMANDS.items():
        assert f"  python -m gdexp {name:<13} {line}\n" in page.out
    assert cli("help") == cli("-h") == page


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_a_module_that_takes_arguments_and_returns_a_code(name: str) -> None:
    module = importlib.import_module(f"gdexp.commands.{name}")
    with pytest.raises(SystemExit) as ended:
        module.main(["--no-such-option"])
    assert ended.value.code == 2


@pytest.mark.slow
def test_files_named_like_commands_do_not_matter(workdir: Path) -> None:
    Path("compare").mkdir()
    Path("compare/__init__.py").write_text("raise SystemExit('imported')")
    Path("ui.py").write_text("raise SystemExit('imported')")
    for name in ("compare", "ui"):
        ended = process(name, cwd=workdir)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("gdexp: nothing recorded yet")
    assert process("compar", cwd=workdir).err == f"gdexp: {REFUSED['compar']}\n"
    assert {path.name for path in workdir.iterdir()} == {"compare", "ui.py"}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_imports_no_other_and_nothing_heavy(name: str, tmp_path: Path) -> None:
    heavy = {"mlflow", "torch", "pandas", "hydra", "rich", "sqlalchemy"}
    others = {f"gdexp.commands.{other}" for other in [*COMMANDS, "run"] if other != name}
    code = (
        f"import sys; sys.argv = ['gdexp', {name!r}, '--help']\n"
        "from gdexp.commands import main\n"
        "try: main()\n"
        "except SystemExit as ended: assert ended.code == 0\n"
        f"print(sorted({heavy | others!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_with_flags_hydra_behaves_as_without(workdir: Path, cli: CLI) -> None:
    (workdir / "mine").mkdir()
    version.VersionBase.instance().setbase(
        version.Version("1.1")
    )  # Hydra's default, under which a job changes the working folder
    ended = cli("--config-dir", "mine", "iters=1", "tracking=off")
    assert (ended.code, version.getbase()) == (0, version.Version("1.3"))
    assert "Future Hydra" not in ended.err
