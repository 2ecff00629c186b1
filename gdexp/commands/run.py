"""The command line of a run: Hydra's entry point, and errors as sentences and exit codes.

Exit codes: 0 done, 1 a run failed, 2 bad input (nothing was started), 130 or 143 interrupted.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from gdexp.commands import arguments
from gdexp.config.compose import VERSION_BASE, Composer, session, yaml_problem
from gdexp.config.folders import ROOT, checked_dir, conf_dir
from gdexp.descent.signals import handled
from gdexp.errors import GdexpError, Interrupted, RunFailedError, WriteError, first_line


def main(argv: Sequence[str]) -> None:
    """Run the command line and exit with its code."""
    sys.exit(guarded(parsed(argv), _start))


def parsed(argv: Sequence[str]) -> Namespace:
    """The arguments; exits with code 2 if they are refused."""
    try:
        return arguments.parse(argv)
    except GdexpError as error:
        sys.exit(refuse(error))


def _start(args: Namespace) -> None:
    """Do what the command line asks for."""
    if args.help:
        from gdexp.commands.help import help_text

        print(help_text(args.config_dir))
    elif args.cfg or args.info or args.hydra_help or args.shell_completion:
        _ask_hydra(args)
    else:
        from gdexp.commands.start import start

        if start(args):
            from gdexp.console import report_sweep

            report_sweep()


def guarded(args: Namespace, action: Callable[[Namespace], None]) -> int:
    """Do what composes with Hydra, and turn every ending into an exit code."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # raise exceptions instead of printing them
    try:
        with handled():
            if args.config_dir is not None:
                checked_dir(args.config_dir)
            action(args)
    except Interrupted as stop:
        print(f"\n{stop.message}", file=sys.stderr)
        return stop.exit_code
    except RunFailedError:
        return 1
    except WriteError as error:
        refuse(error)
        return 1
    except GdexpError as error:
        return refuse(error)
    except BrokenPipeError:  # the reader has stopped reading (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except YAMLError as error:
        return refuse(yaml_problem(error))
    except (HydraException, OmegaConfBaseException, ValueError, AssertionError) as error:
        return _explain(error, args)
    except OSError as error:  # Hydra cannot write its files: the disk is full
        refuse(error)
        return 1
    return 0


def _ask_hydra(args: Namespace) -> None:
    """Let Hydra print what it is asked for; with these flags, it runs nothing."""
    from hydra import version
    from hydra._internal.utils import _run_hydra, get_args_parser

    from gdexp.commands.start import run_checked

    version.setbase(VERSION_BASE)
    _run_hydra(args, get_args_parser(), run_checked, conf_dir(), ROOT)


def _explain(error: Exception, args: Namespace) -> int:
    """Explain an error raised by Hydra in our words, or else by its own first lines."""
    from gdexp import preflight

    try:
        if args.shell_completion:
            return refuse(first_line(error))
        with session():
            words = [word for word in args.overrides if word]
            composer = Composer(args.config_dir, args.config_name or ROOT)
            preflight.check(words, composer, multirun=args.multirun)
    except GdexpError as better:
        return refuse(better)
    except Exception as another:
        error = another
    lines = [first_line(e) for e in (error, error.__cause__) if e and str(e)]
    return refuse(": ".join(lines) or repr(error))


def refuse(error: object) -> int:
    """Print an error; returns the exit code of bad input."""
    print(f"gdexp: {error}", file=sys.stderr)
    return 2
