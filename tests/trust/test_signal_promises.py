# ruff: noqa: PT012
"""What gdexp.descent.signals promises: nothing is broken, nothing is lost, nobody has to wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from helpers import CLI, PATIENCE, clean_environment, eventually

from gdexp.descent import signal_watch
from gdexp.descent.signals import exposed, handled, in_worker, passing_on, shielded, signalled
from gdexp.errors import Interrupted, WriteError
from gdexp.sweep.workers.launched import ended

SIGNUMS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def send(signum: int = signal.SIGINT) -> None:
    """Send a signal to this process, and let it arrive."""
    os.kill(os.getpid(), signum)
    time.sleep(0)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was swallowed is raised again soon."""
    monkeypatch.setattr(signal_watch, "AGAIN", 0.02)


@pytest.mark.parametrize("signum", SIGNUMS)
def test_a_signal_ends_the_block_and_leaves_no_trace(signum: int) -> None:
    before = [signal.getsignal(each) for each in SIGNUMS], sys.unraisablehook
    threads = threading.active_count()
    with pytest.raises(Interrupted) as stop, handled():
        send(signum)
        pytest.fail("not raised")
    assert stop.value.exit_code == 128 + signum
    assert ([signal.getsignal(each) for each in SIGNUMS], sys.unraisablehook) == before
    assert threading.active_count() == threads
    assert signal.set_wakeup_fd(-1) == -1


def test_a_shielded_block_is_completed_and_what_is_exposed_in_it_is_not() -> None:
    done = []
    with pytest.raises(Interrupted), handled():
        with shielded():
            done.append("before")
            with suppress(Interrupted), exposed():
                with shielded():
                    send()
                    done.append("within")
                done.append("never")
            done.append("after")
        done.append("never")
    assert done == ["before", "within", "after"]


def test_a_signal_that_is_swallowed_is_raised_again(often: None) -> None:
    swallowed = 0
    with pytest.raises(Interrupted), handled():
        for _ in range(3):
            with suppress(BaseException):
                send() if not swallowed else eventually(lambda: False)
            swallowed += 1
        eventually(lambda: False)
    assert swallowed == 3


def test_a_signal_that_is_swallowed_to_the_end_ends_the_block_all_the_same() -> None:
    with pytest.raises(Interrupted), handled(), suppress(BaseException):
        send()


def test_a_signal_that_arrives_in_a_destructor_is_not_lost(often: None) -> None:
    class Late:
        def __del__(self) -> None:
            send()

    with pytest.raises(Interrupted), handled():
        Late()
        eventually(lambda: False)


@pytest.mark.parametrize("error", [WriteError("full"), KeyError("mangled"), SystemExit(2)])
def test_after_a_signal_every_error_is_the_signal(error: BaseException) -> None:
    with pytest.raises(Interrupted) as stop, handled(), shielded():
        send()
        raise error
    assert stop.value.__cause__ is error


def test_what_a_signal_breaks_is_interrupted_and_not_failed() -> None:
    caught: list[BaseException] = []
    with pytest.raises(Interrupted), handled(), shielded():
        try:
            with exposed():
                try:
                    send()
                except BaseException:
                    raise ImportError("partially initialized module") from None
        except BaseException as error:
            caught.append(error)
    assert [type(error) for error in caught] == [Interrupted]


def test_an_interrupted_of_another_process_is_passed_on() -> None:
    foreign = Interrupted(signal.SIGTERM)
    with pytest.raises(Interrupted) as stop, handled():
        raise foreign
    assert stop.value is foreign


def test_without_a_signal_errors_stay_as_they_are() -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as raised, handled(), shielded(), exposed():
        raise error
    assert raised.value is error


def test_what_follows_the_block_knows_of_no_signal() -> None:
    with pytest.raises(Interrupted), handled():
        send()
    assert not signalled()
    with shielded(), exposed():  # as a reader of the store in a notebook
        pass
    with pytest.raises(KeyError, match="mine"), exposed():
        raise KeyError("mine")


def test_the_outermost_of_nested_blocks_counts() -> None:
    with pytest.raises(Interrupted), handled():
        with suppress(Interrupted), handled():
            send()
        with exposed():
            pytest.fail("not raised")


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_is_ignored_stays_so(signum: int) -> None:
    former = signal.signal(signum, signal.SIG_IGN)
    try:
        with handled():
            send(signum)
        assert signal.getsignal(signum) is signal.SIG_IGN
    finally:
        signal.signal(signum, former)


def test_a_signal_is_passed_on_once_and_before_it_is_raised() -> None:
    told = []
    with pytest.raises(Interrupted), handled(), passing_on(lambda: told.append("passed on")):
        try:
            send()
        finally:
            told.append("raised")
    assert told == ["passed on", "raised"]


def test_an_end_that_cannot_be_written_has_the_code_of_the_signal(
    store: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gdexp.tracking.recorder import Recorder

    def refused(self: Recorder) -> None:
        send(signal.SIGTERM)
        raise WriteError("A run cannot be written: the disk is full.")

    monkeypatch.setattr(Recorder, "flush", refused)
    ended = cli("iters=3")
    assert ended.code == 143
    lines = ended.err.splitlines()[-2:]
    assert lines == ["interrupted by SIGTERM", "gdexp: A run cannot be written: the disk is full."]


# In processes of their own: what ends one at once

WAIT = """
import ctypes, os, signal, sys, time
from gdexp.descent.signals import handled, shielded, in_worker
from gdexp.errors import Interrupted
lock = ctypes.create_string_buffer(64)
def forever():  # in C, where no signal handler of Python is called
    ctypes.CDLL(None).pthread_mutex_lock(lock)
    print("waiting", flush=True)
    ctypes.CDLL(None).pthread_mutex_lock(lock)
"""


def waiting(script: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", WAIT + script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "waiting\n"
    return child


def code_and_err(child: subprocess.Popen[str]) -> tuple[int, str]:
    err = child.communicate(timeout=PATIENCE)[1]
    return child.returncode, err


def test_a_second_signal_ends_a_process_that_waits_in_c() -> None:
    child = waiting("with handled(), shielded(): forever()")
    for signum in (signal.SIGHUP, signal.SIGHUP, signal.SIGINT):
        child.send_signal(signum)  # the kernel and the shell may both send a SIGHUP
        with suppress(subprocess.TimeoutExpired):
            child.wait(0.2)
            assert signum == signal.SIGINT
    assert code_and_err(child) == (130, "")


def test_a_signal_in_a_forked_process_is_not_counted_here() -> None:
    child = waiting(
        "with handled(), shielded():\n"
        "    read, write = os.pipe()\n"
        "    if not (pid := os.fork()): os.write(write, b'.'); time.sleep(600)\n"
        "    os.read(read, 1)\n"
        "    os.kill(pid, signal.SIGTERM)\n"
        "    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
        "    os.kill(os.getpid(), signal.SIGTERM); print('waiting', flush=True)\n"
        "    time.sleep(0.2); os._exit(ended if ended == 143 else 1)\n"
    )
    assert code_and_err(child) == (143, "")


def test_a_worker_ends_with_the_code_of_the_signal_however_often_it_comes() -> None:
    child = waiting(
        "from gdexp.descent import signals; signals.LAST = 0\n"
        "with in_worker():\n"
        "    try: print('waiting', flush=True); time.sleep(600)\n"
        "    finally:\n"
        "        with shielded():\n"
        "            os.kill(os.getpid(), signal.SIGINT); time.sleep(0.2); print('recorded')\n"
        "            sys.stdout.flush()\n"
    )
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=PATIENCE)
    assert (child.returncode, out, err) == (143, "recorded\n", "")


def test_in_the_main_process_a_worker_block_does_nothing() -> None:
    with pytest.raises(Interrupted), handled(), in_worker():
        send()


SLOW_WORKER = """
import signal, time
def end(*_):
    time.sleep(0.2)
    print("recorded", flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGTERM, end)
print("waiting", flush=True)
while True: time.sleep(60)
"""


def test_workers_are_killed_when_all_have_recorded_their_end_and_trackers_are_left(
    often: None,
) -> None:
    workers: list[subprocess.Popen[str]] = []
    with pytest.raises(Interrupted), handled(), ended():
        for name in ("worker", "resource_tracker"):
            command = [sys.executable, "-c", SLOW_WORKER, name]
            workers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            assert workers[-1].stdout is not None
            assert workers[-1].stdout.readline() == "waiting\n"
        send(signal.SIGTERM)
    worker, tracker = workers
    assert (worker.communicate()[0], worker.returncode) == ("recorded\n", -signal.SIGKILL)
    assert tracker.poll() is None
    tracker.kill()
    assert tracker.communicate()[0] == "recorded\n"
