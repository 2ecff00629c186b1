"""Reading what belongs to a run: every error is a sentence that names the run and the artifact."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gdexp.descent.numbers import whole
from gdexp.errors import ConfigError, GdexpError, UntrustedError, brief, excerpt
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.store import Store


def files_of(store: Store, run: RecordedRun) -> list[str]:
    """The names of a run's artifacts.

    Raises:
        GdexpError: they cannot be listed.
    """
    with reading("the list of artifacts", run):
        return store.files(run)


def iters_of(run: RecordedRun) -> int:
    """The most epochs that a run can have, as its param iters says.

    Raises:
        GdexpError: it does not say so.
    """
    text = run.params.get("iters")
    if (iters := whole(text or "")) is None:
        is_what = "no param iters" if text is None else f"the param iters={excerpt(text)[1:-1]}"
        raise GdexpError(
            f"run {run.run_id} has {is_what}, so its record has been changed and cannot be read. "
            "Run it again."
        )
    return iters


@contextmanager
def reading(name: str, run: RecordedRun) -> Iterator[None]:
    """Turn errors in reading an artifact into sentences that name the artifact and the run.

    Raises:
        GdexpError: the artifact is missing, damaged, of code that is not trusted, or out of reach.
    """
    what = f"{name} of run {run.run_id}"
    try:
        yield
    except UntrustedError as error:
        raise GdexpError(f"{what}: {error}") from error
    except UnicodeDecodeError as error:
        raise GdexpError(f"{what} is damaged: it is not UTF-8 text. Run it again.") from error
    except ValueError as error:
        # A ConfigError comes from a component that has changed since the run.
        problem = "cannot be rebuilt" if isinstance(error, ConfigError) else "is damaged"
        raise GdexpError(f"{what} {problem}: {str(error).rstrip('.')}. Run it again.") from error
    except FileNotFoundError as error:
        raise GdexpError(
            f"run {run.run_id} ({run.outcome}) has no {name} among its artifacts. Run it again."
        ) from error
    except OSError as error:
        raise GdexpError(f"{what} cannot be read: {error.strerror or brief(error)}.") from error
    except GdexpError:
        raise
    except Exception as error:  # from MLflow
        raise GdexpError(f"{what} cannot be read: {brief(error)}.") from error
