"""Kills a door again and again, goes on with it each time, and compares the end with the run that nothing disturbed.

A kill is a SIGKILL of a real process that writes real files. The processes are forked from a server that has imported
torch already: a kill then costs no more than the work that it destroys.
"""

import hashlib
import io
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import time
import types
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.kills import doors

# What children would have to import by themselves, "__main__" and pytest included: multiprocessing asks for the first.
PRELOADED = ["__main__", "pytest", "tests.kills.doors", "prepare_images", "get_weights", "train_zoo", "pooch"]
IN_A_ROW = 4  # kills of one run at most
NEVER = 1 << 40  # more writes than there are
SLOWEST = 300  # seconds; a run of a door that takes longer hangs
WRITES = {"open", "write", "flush", "fsync", "truncate", "replace", "rename", "unlink", "mkdir"}
OF_FILES = (types.ModuleType, io.BufferedWriter, io.BufferedRandom)  # whose functions these are; not of buffers or text
DATE = re.compile(rb"\d{4}-\d\d-\d\d")  # in a record: the result is the same on another day


class Runner:
    """Runs doors in processes forked from one server. environment: what those see besides this process's own."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder, self.environment = folder, environment
        self.log = folder / "log"
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOADED)

    def start(self, door: str, out: Path, log: Path | None = None, **how) -> BaseProcess:
        """A process that runs a door; how: see _enter."""
        arguments = (door, out, log or self.log, self.environment)
        process = self.context.Process(target=_enter, args=arguments, kwargs=how, daemon=True)
        process.start()
        return process

    def finish(self, door: str, out: Path) -> None:
        """Runs a door to its end."""
        process = self.start(door, out)
        process.join(SLOWEST)
        assert process.exitcode == 0, f"{door} ended with {process.exitcode}: {self.said()}"

    def kill(self, door: str, out: Path, wait: float) -> bool:
        """Kills a door after so many seconds; whether it was still running."""
        process = self.start(door, out)
        process.join(wait)
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), f"{door} ended with {process.exitcode}: {self.said()}"
        return process.exitcode != 0

    def kill_at(self, door: str, out: Path, write: int) -> bool:
        """Has a door kill itself at its n-th call or return of a function that changes files; whether there was one."""
        process = self.start(door, out, die_at=write)
        process.join(SLOWEST)
        assert process.exitcode in (0, -signal.SIGKILL), f"{door} ended with {process.exitcode}: {self.said()}"
        return process.exitcode != 0

    def said(self) -> str:
        """What the last process wrote to stdout and stderr."""
        return self.log.read_text("utf-8")


def tree(folder: Path) -> dict[str, str]:
    """The sha256 of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(_content(path)).hexdigest() for path in files}


def _content(path: Path) -> bytes:
    return DATE.sub(b"DATE", path.read_bytes()) if path.suffix == ".json" else path.read_bytes()


def random_kills(runner: Runner, door: str, kills: int, seed: int) -> str:
    """Hits a door at random moments, so many times; every run that was hit must end as the undisturbed one.

    The moments lie between a run's start and a little after its usual end. Returns a line that says what was hit.
    """
    rng = random.Random(f"{seed} {door}")
    whole, usual = undisturbed(runner, door)
    hits, late, saving = 0, 0, 0
    while hits < kills:
        out, story = runner.folder / "killed", []
        for _ in range(rng.randint(1, IN_A_ROW)):
            wait = rng.uniform(0, 1.1 * usual)
            hit = runner.kill(door, out, wait)
            there = sorted(tree(out))
            story.append(f"{wait:.3f} s of {usual:.3f}: {'killed' if hit else 'too late'}, left {', '.join(there)}")
            hits, late = hits + hit, late + (not hit)
            saving += hit and any(".part" in name for name in there)
            if not hit:
                break
        check(runner, door, out, whole, f"seed {seed}, {'; '.join(story)}")
        assert late <= 20 + 10 * kills, f"{door} is never hit: its runs end before the {usual:.3f} s that one took"
    return f"{door}: {hits} kills, {saving} of them while a file was written, {late} too late, of {usual:.2f} s"


def kills_at_writes(runner: Runner, door: str, kills: int, seed: int) -> str:
    """Kills a door right before or after one of the calls that change files, at so many of them, drawn; then as above.

    The clock decides nothing here: a failure comes again with the same seed.
    """
    whole, _ = undisturbed(runner, door)
    out = runner.folder / "killed"
    assert not runner.kill_at(door, out, NEVER)
    moments = int(runner.said().split()[-1])
    check(runner, door, out, whole, "not killed")
    drawn = sorted(random.Random(f"{seed} {door}").sample(range(1, moments + 1), min(kills, moments)))
    for moment in drawn:
        assert runner.kill_at(door, out, moment), f"{door} has fewer than {moments} writes when it is done again"
        check(runner, door, out, whole, f"killed at moment {moment} of {moments}")
    return f"{door}: killed at {len(drawn)} of the {moments} moments before and after a write"


def undisturbed(runner: Runner, door: str) -> tuple[dict[str, str], float]:
    """What a door makes, checked to be the same twice, and the seconds that it takes."""
    trees = []
    for name in ("whole", "again"):
        began = time.monotonic()
        runner.finish(door, runner.folder / name)
        usual = time.monotonic() - began
        trees.append(tree(runner.folder / name))
        shutil.rmtree(runner.folder / name)
    assert trees[0] == trees[1], f"{door} gives other bytes when it is done twice, without any kill"
    assert trees[0], f"{door} writes nothing"
    return trees[0], usual


def check(runner: Runner, door: str, out: Path, whole: dict[str, str], story: str) -> None:
    """Goes on with a killed door to its end, compares, and removes what it made."""
    runner.finish(door, out)
    end = tree(out)
    other = sorted(name for name in whole.keys() | end.keys() if whole.get(name) != end.get(name))
    assert end == whole, f"{door} went on to another end: {', '.join(other)} differ ({story})"
    shutil.rmtree(out)


def _enter(
    door: str,
    out: Path,
    log: Path,
    environment: dict[str, str],
    die_at: int | None = None,
    largest: int | None = None,
    stdout: str | None = None,
) -> None:
    """A child's work: one door, with stdout and stderr in a file.

    die_at: at which moment of writing it kills itself. largest: bytes of a file, as if the disk were full beyond them.
    stdout: a device in the file's place, or "closed" for a pipe that nobody reads.
    """
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(written, 2)
    if stdout == "closed":
        unread, written = os.pipe()
        os.close(unread)
    elif stdout is not None:
        written = os.open(stdout, os.O_WRONLY)
    os.dup2(written, 1)
    # the server's own streams were made for whatever it writes to
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    os.environ.update(environment)
    dying = _Dying(NEVER if die_at is None else die_at)
    if die_at is not None:
        sys.setprofile(dying)
    status = (doors.DOORS | doors.COMMANDS)[door](out)
    sys.setprofile(None)
    if die_at is not None:
        print(dying.seen, flush=True)
    sys.exit(status)


class _Dying:
    """A profiler that ends its process at the n-th call or return of a built-in function that changes files."""

    def __init__(self, at: int):
        self.at, self.seen = at, 0

    def __call__(self, frame, event, function) -> None:
        if event in ("c_call", "c_return") and function.__name__ in WRITES and isinstance(function.__self__, OF_FILES):
            self.seen += 1
            if self.seen == self.at:
                os.kill(os.getpid(), signal.SIGKILL)
