"""How a command ends: whatever stops it becomes one line on stderr and an exit status of its own.

    0  done                                     4    the machine: no room on disk or in memory, no permission
    1  a fault of ours, with its traceback      130  Ctrl-C
    2  wrong use, or wrong input                141  nobody reads the output any more (no line)
    3  the training diverged                    143  SIGTERM

Nothing here imports torch, so that --help is there at once and Ctrl-C works while torch is being imported.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

from minegan_lite.errors import Diverged, UserError

WRONG, DIVERGED, MACHINE, INTERRUPTED, UNREAD, TERMINATED = 2, 3, 4, 130, 141, 143
LONGEST = 600  # characters of a line: what a message quotes may be a stranger's, and endless
GOES_ON = "what was done is kept, the same command goes on"


class Terminated(BaseException):
    """SIGTERM, as an exception: whoever is writing a file ends that properly."""


def status(program: str, work: Callable[[], None], goes_on: Callable[[], bool] = lambda: True) -> int:
    """Does the work and returns the exit status. If something stopped it, one line on stderr says what.

    program: its name, which begins the line. goes_on: called after an interruption or a full disk; says whether the
    same command would go on where this one stopped.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # printing never fails, whatever letters the terminal knows
            stream.reconfigure(errors="backslashreplace")
    try:
        with _sigterm():
            try:
                work()
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()  # a full disk or a closed pipe shows here
    except BaseException as error:
        if (end := _end(error)) is None:
            raise
        code, told = end
        if code in (MACHINE, INTERRUPTED, TERMINATED) and goes_on():
            told += f": {GOES_ON}"
        _drop_output()
        if code != UNREAD:
            _tell(program, told)
        return code
    return 0


def one_line(text: str) -> str:
    """The text on one line of at most LONGEST characters, without anything that a terminal takes for a command."""
    text = "".join(c if c.isprintable() else " " if c.isspace() else c.encode("unicode_escape").decode() for c in text)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST * 2 // 3]} … {text[-LONGEST // 4 :]}"


def need_memory(count: int, what: str, shape: tuple[int, ...]) -> None:
    """Raises UserError if `count` float32 arrays of this shape do not fit into the machine's memory."""
    needed, there = 4 * count, _memory()
    for length in shape:
        needed *= length
    if needed > there:
        raise UserError(f"{count:,} {what} need {needed / 2**30:,.0f} GiB, there are {there / 2**30:,.0f}: take fewer")


def _memory() -> int:
    """Bytes of memory in the machine; if the system does not say, a number that few machines exceed."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return 1 << 38


def _end(error: BaseException) -> tuple[int, str] | None:
    """Exit status and message for the error that ended a command; None for our own faults and deliberate exits."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    # an import that is interrupted makes errors of its own out of it
    if any(isinstance(one, Terminated) for one in chain):
        return TERMINATED, "terminated"
    if any(isinstance(one, KeyboardInterrupt) for one in chain):
        return INTERRUPTED, "interrupted"
    if isinstance(error, UserError):
        return WRONG, f"error: {error}"
    if isinstance(error, Diverged):
        return DIVERGED, f"diverged: {error}"
    if isinstance(error, BrokenPipeError):
        return UNREAD, ""
    if isinstance(error, OSError):
        where = "" if error.filename is None else f": {error.filename}"
        return MACHINE, f"error: {error.strerror or error or type(error).__name__}{where}"
    if isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error):
        return MACHINE, "error: out of memory: ask for fewer or smaller images at a time"
    return None


@contextlib.contextmanager
def _sigterm() -> Iterator[None]:
    """Inside, SIGTERM raises Terminated; outside the main thread, where Python allows no handler, nothing changes."""

    def stop(*_) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _drop_output() -> None:
    """Discards output that could not be written: Python would try again at its end and print a traceback."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _tell(program: str, text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # stderr may be closed or full as well
        if "tqdm" in sys.modules:  # a bar that was just begun still stands on the line
            for bar in list(getattr(sys.modules["tqdm"].tqdm, "_instances", ())):
                bar.close()
        print(f"{program}: {one_line(text)}", file=sys.stderr, flush=True)
