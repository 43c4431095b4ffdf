"""What else stops a command: SIGTERM, a full disk, a closed pipe, a second process. One line, and nothing is lost."""

import shutil
import time
from pathlib import Path

import pytest

from minegan_lite.terminal import MACHINE, TERMINATED, UNREAD, WRONG
from minegan_lite.thumbnails import NAME
from tests.kills import harness
from tests.kills.doors import COMMANDS

# get_weights names the folder where the file itself does not fit, not where it was there and its members do not
FULL = {"get_weights": (WRONG, MACHINE)}
BEGUN = ("state.pt", "progress.json", "small.zip.part")  # one of them is there once something can be lost


@pytest.fixture(params=COMMANDS)
def door(request) -> str:
    return request.param


def begin(runner, door, out):
    """A running process of a door that has written something."""
    process = runner.start(door, out)
    deadline = time.monotonic() + harness.SLOWEST
    while not any(next(out.rglob(name), None) for name in BEGUN):
        assert process.is_alive(), f"{door} ended with {process.exitcode}: {runner.said()}"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return process


def lines(log: Path) -> list[str]:
    """What a process said of its end: without the states of its progress bar, and where its picture is."""
    said = (part for line in log.read_text("utf-8").split("\n") for part in line.split("\r"))
    return [line for line in said if line.strip() and "%|" not in line and NAME not in line]


def test_sigterm_is_one_line_and_the_same_command_goes_on(runner, door):
    whole, _ = harness.undisturbed(runner, door)
    out = runner.folder / "stopped"
    for _ in range(20):  # a run may end before the signal comes
        process = begin(runner, door, out)
        process.terminate()
        process.join(harness.SLOWEST)
        if process.exitcode != 0:
            break
        shutil.rmtree(out)
    assert process.exitcode == TERMINATED, runner.said()
    assert len(lines(runner.log)) == 1, runner.said()
    assert "terminated" in runner.said()
    harness.check(runner, door, out, whole, "terminated")


def test_a_full_disk_is_one_line_and_keeps_the_last_good_state(runner, door):
    """A file may hold 4 KiB, no more: the kernel refuses the rest, as on a disk without room."""
    whole, _ = harness.undisturbed(runner, door)
    out = runner.folder / "full"
    process = begin(runner, door, out)
    process.kill()
    process.join()
    assert process.exitcode != 0, f"{door} ended before it could be killed"
    kept = {name: digest for name, digest in harness.tree(out).items() if name.endswith("state.pt")}
    process = runner.start(door, out, largest=4096)
    process.join(harness.SLOWEST)
    assert process.exitcode in FULL.get(door, (MACHINE,)), runner.said()
    assert len([line for line in lines(runner.log) if "error" in line]) == 1, runner.said()
    assert kept.items() <= harness.tree(out).items()
    harness.check(runner, door, out, whole, "on a full disk")


@pytest.mark.parametrize(("stdout", "status"), [("closed", UNREAD), ("/dev/full", MACHINE)])
def test_an_output_that_nobody_takes_costs_nothing_but_the_status(runner, door, stdout, status):
    whole, _ = harness.undisturbed(runner, door)
    process = runner.start(door, runner.folder / "unread", stdout=stdout)
    process.join(harness.SLOWEST)
    assert process.exitcode == status, runner.said()
    assert len(lines(runner.log)) == (status == MACHINE), runner.said()
    harness.check(runner, door, runner.folder / "unread", whole, f"stdout {stdout}")


@pytest.mark.parametrize("door", ["minegan-lite mine", "prepare_images"])
def test_of_two_at_once_one_is_refused_and_the_other_is_not_disturbed(runner, door):
    whole, _ = harness.undisturbed(runner, door)
    refused = 0
    for _ in range(4):
        out, logs = runner.folder / "both", [runner.folder / f"log{i}" for i in range(2)]
        processes = [runner.start(door, out, log) for log in logs]
        for process in processes:
            process.join(harness.SLOWEST)
        ends = [process.exitcode for process in processes]
        assert sorted(ends) in ([0, 0], [0, WRONG]), [log.read_text("utf-8") for log in logs]
        if WRONG in ends:  # else the one began after the other's end
            refused += 1
            (line,) = lines(logs[ends.index(WRONG)])
            assert "another process" in line
        harness.check(runner, door, out, whole, "two at once")
    assert refused
