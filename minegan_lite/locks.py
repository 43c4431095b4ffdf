"""One writer at a time: a lock on a folder that the kernel releases when its process ends, however it ends."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from minegan_lite.errors import UserError

LOCK = ".lock"  # in the folder, while it is written; what a killed process leaves behind is an empty file, not a lock
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextlib.contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """While one process is inside, any other that tries to enter with the same folder is refused at once.

    A missing folder is made, and removed afterwards if it is still empty. Raises UserError if another process is
    writing, if the folder cannot be made or written, and if the path is a file.
    """
    folder = Path(folder)
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder: choose another path")
    made = [one for one in (folder, *folder.parents) if not os.path.lexists(one)]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = _acquire(folder)
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror or error}") from None
        try:
            yield
        finally:
            _release(folder / LOCK, file)
    finally:
        with contextlib.suppress(OSError):  # ends at the first folder that is not empty
            for one in made:
                one.rmdir()


def _acquire(folder: Path) -> int:
    """The locked file, as a descriptor."""
    path = folder / LOCK
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(file)
        except OSError as error:
            os.close(file)
            if error.errno not in _HELD:
                raise
            raise UserError(f"another process is writing to {folder}: wait for its end, or choose another") from None
        # the last holder may have removed the file after it was opened here: only a lock on the path's file counts
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        os.close(file)


def _release(path: Path, file: int) -> None:
    if os.name == "nt":  # an open file cannot be removed there
        os.close(file)
        with contextlib.suppress(OSError):
            path.unlink()
        return
    with contextlib.suppress(OSError):  # a folder that was removed or closed meanwhile
        path.unlink()
    os.close(file)


def _lock(file: int) -> None:
    """Takes the lock, or raises an error of _HELD. On a file system without locks everyone is let in."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            raise
