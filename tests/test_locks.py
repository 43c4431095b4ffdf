"""A folder has one writer at a time, and a killed one leaves nothing that stops the next."""

import signal
import subprocess
import sys

import pytest

from minegan_lite.errors import UserError
from minegan_lite.locks import LOCK, locked

HOLDER = """
import sys, time
from minegan_lite.locks import locked
with locked(sys.argv[1]):
    print("inside", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process inside the lock of tmp_path/run."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "inside\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_at_once_and_let_in_after_the_first(tmp_path, holder):
    for _ in range(2):  # a refusal does not take the lock away from its holder
        with pytest.raises(UserError, match="another process is writing to") as caught, locked(tmp_path / "run"):
            raise AssertionError("two are inside")
        assert "\n" not in str(caught.value)
    holder.communicate("")
    with locked(tmp_path / "run"):
        pass


def test_a_kill_leaves_nothing_that_stops_the_next(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / LOCK).exists(), "the process had no lock: the test proves nothing"
    with locked(tmp_path / "run"):
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_folders_have_locks_of_their_own(tmp_path):
    with locked(tmp_path / "one"), locked(tmp_path / "two"):
        pass


def test_what_was_made_goes_again_unless_something_was_put_into_it(tmp_path):
    with locked(tmp_path / "deep/er/run"):
        assert [file.name for file in (tmp_path / "deep/er/run").iterdir()] == [LOCK]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError), locked(tmp_path / "deep/run"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "deep/run"):
        (tmp_path / "deep/run/kept").write_text("x")
    assert [file.name for file in (tmp_path / "deep/run").iterdir()] == ["kept"]
    (tmp_path / "empty").mkdir()
    with locked(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir()


def test_what_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path, words in (("file", "is a file"), ("file/below", "cannot write to"), ("x" * 300, "cannot write to")):
        with pytest.raises(UserError, match=words) as caught, locked(tmp_path / path):
            raise AssertionError("inside")
        assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
