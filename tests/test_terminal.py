"""Whatever stops a command is one line and an exit status of its own, also where printing itself fails."""

import os
import signal
import subprocess
import sys
import time

import pytest
from tqdm import tqdm

from minegan_lite import terminal
from minegan_lite.errors import Diverged, UserError


def ended(error: BaseException, capsys, goes_on=True) -> tuple[int, str]:
    def work():
        raise error

    code = terminal.status("program", work, lambda: goes_on)
    out, err = capsys.readouterr()
    assert out == ""
    return code, err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("no such digit"), 2, "error: no such digit"),
        (Diverged("step 3"), 3, "diverged: step 3"),
        (OSError(28, "No space left on device", "run/state.pt"), 4, "error: No space left on device: run/state.pt"),
        (PermissionError(13, "Permission denied", "x"), 4, "error: Permission denied: x"),
        (OSError("cannot"), 4, "error: cannot"),
        (MemoryError(), 4, "error: out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 4, "error: out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (terminal.Terminated(), 143, "terminated"),
    ],
)
def test_each_end_has_a_status_and_one_line(capsys, error, code, words):
    status, err = ended(error, capsys)
    assert status == code
    assert err.startswith(f"program: {words}")
    assert err.count("\n") == 1
    assert (terminal.GOES_ON in err) == (code in (4, 130, 143))
    assert terminal.GOES_ON not in ended(error, capsys, goes_on=False)[1]


def test_an_import_that_was_interrupted_is_an_interruption(capsys):
    error = ImportError("numpy failed to import")
    error.__context__ = KeyboardInterrupt()
    assert ended(error, capsys)[0] == 130


@pytest.mark.parametrize("error", [ZeroDivisionError(), RuntimeError("size mismatch"), SystemExit(5)])
def test_a_fault_of_ours_and_an_exit_that_was_asked_for_pass(error):
    def work():
        raise error

    with pytest.raises(type(error)) as caught:
        terminal.status("program", work)
    assert caught.value is error


def test_done_is_zero(capsys):
    assert terminal.status("program", lambda: print("done")) == 0
    assert capsys.readouterr() == ("done\n", "")


def test_a_line_is_short_and_no_command_to_the_terminal():
    assert terminal.one_line("a\x1b[31mred\r\nb\x9b\u202e\udcff") == "a\\x1b[31mred b\\x9b\\u202e\\udcff"
    long = terminal.one_line("begin " + "9" * 200_000 + " end")
    assert len(long) < 1000
    assert (long[:5], long[-3:]) == ("begin", "end")
    assert terminal.one_line("Fréchet × 漢字") == "Fréchet × 漢字"


def test_memory_is_asked_for_before_it_is_eaten(monkeypatch):
    monkeypatch.setattr(terminal, "_memory", lambda: 1000 * 4 * 28 * 28)
    terminal.need_memory(1000, "images", (1, 28, 28))
    with pytest.raises(UserError, match="1,001 images need"):
        terminal.need_memory(1001, "images", (1, 28, 28))
    monkeypatch.undo()
    with pytest.raises(UserError, match="take fewer"):
        terminal.need_memory(10**12, "images", (1, 28, 28))


SCRIPT = """
import sys, time
from minegan_lite.terminal import status
def work():
    print("Fréchet × 漢字")
    print("ready", file=sys.stderr, flush=True)
    if "wait" in sys.argv: time.sleep(60)
    for i in range(100_000 if "much" in sys.argv else 0): print("line", i)
    if "exit" in sys.argv: sys.exit(0)
sys.exit(status("script", work, lambda: "kept" in sys.argv))
"""


def script(*words, **options) -> subprocess.Popen:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    environment = {**os.environ, "PYTHONIOENCODING": options.pop("encoding", "utf-8")}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *words], env=environment, **options)


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "latin-1", "utf-8"])
def test_printing_never_fails(encoding):
    process = script(encoding=encoding)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.decode(encoding).startswith(
        {"cp932": "Fr\\xe9chet ×", "ascii": "Fr\\xe9chet \\xd7"}.get(encoding, "Fré")
    )


@pytest.mark.parametrize("words", [["much"], ["much", "exit"]])
def test_a_reader_that_leaves_is_no_error(words):
    process = script(*words)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b"ready\n"
    assert process.wait(timeout=60) == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("words", [[], ["much"], ["exit"]])
def test_a_full_disk_behind_stdout_is_one_line(words):
    with open("/dev/full", "wb") as full:
        process = script(*words, stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert err.decode().removeprefix("ready\n") == "script: error: No space left on device\n"


@pytest.mark.parametrize("kept", [[], ["kept"]])
@pytest.mark.parametrize(
    ("kill", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_signals_are_one_line(kill, code, word, kept):
    process = script("wait", *kept)
    assert process.stderr.readline() == b"ready\n"
    process.send_signal(kill)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err.decode() == f"script: {word}{f': {terminal.GOES_ON}' if kept else ''}\n"


def test_afterwards_sigterm_is_what_it_was(capsys):
    before = signal.getsignal(signal.SIGTERM)
    terminal.status("program", lambda: time.sleep(0))
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_bar_that_stands_is_closed_before_the_line(capsys):
    def work():
        bars.append(tqdm(total=9, file=sys.stderr))
        raise UserError("no")

    bars: list[tqdm] = []
    assert terminal.status("minegan-lite", work) == 2
    assert capsys.readouterr().err.split("\n")[-2:] == ["minegan-lite: error: no", ""]
