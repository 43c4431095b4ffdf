"""Pictures prepared once: decoded, cropped and resized in parallel into one uint8 array that few_shot reads.

A prepared folder holds images.npy, (N, 3, size, size) uint8 in the order of the names, and manifest.json, which says
what they are. While it is being made it holds images.npy.part and progress.json, and goes on from there after a kill;
one process at a time writes into it.
"""

import concurrent.futures
import concurrent.futures.process
import contextlib
import datetime
import functools
import hashlib
import io
import json
import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fetching import sha256
from image_sources import Unreadable
from tqdm.auto import tqdm

from minegan_lite import __version__
from minegan_lite.data.images import MANIFEST, PREPARED, check_regular, open_picture, printable, read_image
from minegan_lite.errors import UserError
from minegan_lite.files import write_atomically
from minegan_lite.locks import locked
from minegan_lite.runs import RunFolder

BATCH = 128  # pictures between two safe points, and in memory at once
WORTH = 1000  # pictures: fewer are done before another process has imported torch
PROGRESS = "progress.json"
RESIZE = "bilinear, antialiased"


def finished(out: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a folder that is already prepared, None where there is none yet. Nothing is written.

    Raises UserError where the folder was prepared by another request, or the array is not the one of its manifest.
    """
    if not (out / PREPARED).exists():
        return None
    RunFolder(out, request)
    check_regular(out / PREPARED)
    with contextlib.suppress(OSError):
        (out / PROGRESS).unlink(missing_ok=True)  # of a call that was killed at the very end
    manifest = _json(out / MANIFEST, lambda found: _is_manifest(found, request["size"]))
    if sha256(out / PREPARED) != manifest["sha256"]:
        raise UserError(f"{out / PREPARED} is damaged: delete the folder {out}, and prepare it again")
    return manifest


def prepare(
    names: list[str],
    read: Callable[[str], bytes],
    out: Path,
    *,
    request: dict[str, Any],
    box: tuple[int, int, int, int] | None,
    jobs: int,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Writes the pictures of these names, in this order, and returns the manifest.

    read: bytes of a file by its name; request: what identifies the preparation, with the side of a picture in pixels
    under "size"; box: as DataSet has it; jobs: processes; facts: what else the manifest is to say. A picture that
    cannot be read is left out, and the manifest counts and names it; until then the next call tries it again.
    Raises UserError where the folder holds something else, another process is writing into it, the source has changed
    since the last call or fails, no picture can be read, or a process dies.
    """
    with locked(out):
        if manifest := finished(out, request):  # by another process, meanwhile
            return manifest
        RunFolder(out, request)
        size = request["size"]
        decode = functools.partial(picture, size=size, box=box)
        progress = _begun(names, read, out, decode, size)
        _write(names, read, out, decode, size, progress, jobs)
        skipped, part = dict(progress["skipped"]), out / f"{PREPARED}.part"
        manifest = {
            **facts, "count": progress["kept"], "shape": [progress["kept"], 3, size, size], "dtype": "uint8",
            "resize": RESIZE, "skipped": skipped, "sha256": sha256(part), "date": datetime.date.today().isoformat(),
            "minegan_lite": __version__, "files": [name for name in names if name not in skipped],
        }  # fmt: skip
        text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
        # bytes of a name that are no UTF-8 are escaped, as JSON has it
        write_atomically(out / MANIFEST, text.encode("utf-8", "backslashreplace"))
        part.replace(out / PREPARED)
        (out / PROGRESS).unlink(missing_ok=True)
        return manifest


def _begun(
    names: list[str], read: Callable[[str], bytes], out: Path, decode: Callable[[bytes | str], Any], size: int
) -> dict[str, Any]:
    """How far an earlier call came: how many of the names were taken and kept, and which were skipped, and why.

    Back to the first skipped picture that can be read by now.
    """
    part, listed = (
        out / f"{PREPARED}.part",
        hashlib.sha256("\n".join(names).encode("utf-8", "surrogatepass")).hexdigest(),
    )
    progress = {"listed": listed, "taken": 0, "kept": 0, "skipped": []}
    if (out / PROGRESS).exists() and part.exists():
        check_regular(part)
        room = (part.stat().st_size - len(_header(0, size))) // (3 * size**2)
        progress = _json(out / PROGRESS, lambda found: _is_progress(found, names, room))
    if progress["listed"] != listed or progress["taken"] > len(names):
        raise UserError(
            f"the source has other pictures than when {out} was begun: delete that folder, or choose another"
        )
    for i, (name, _) in enumerate(progress["skipped"]):
        if not isinstance(decode(_bytes(read, name)), str):
            taken = names.index(name)
            return progress | {"taken": taken, "kept": taken - i, "skipped": progress["skipped"][:i]}
    return progress


def _write(
    names: list[str],
    read: Callable[[str], bytes],
    out: Path,
    decode: Callable[[bytes | str], Any],
    size: int,
    progress: dict[str, Any],
    jobs: int,
) -> None:
    """The pictures that are not taken yet into images.npy.part, and `progress` on, also on disk after each batch."""
    jobs = min(jobs, 1 + (len(names) - progress["taken"]) // WORTH)
    bar = tqdm(total=len(names), initial=progress["taken"], unit=" pictures")
    mode = "r+b" if progress["taken"] else "wb"
    with bar, open(out / f"{PREPARED}.part", mode) as file, _workers(jobs) as run:
        file.write(_header(0, size))
        # what a killed call wrote after its last safe point
        file.truncate(len(_header(0, size)) + progress["kept"] * 3 * size**2)
        file.seek(0, os.SEEK_END)
        while progress["taken"] < len(names):
            batch = names[progress["taken"] : progress["taken"] + BATCH]
            for name, result in zip(batch, run(decode, [_bytes(read, name) for name in batch]), strict=True):
                if isinstance(result, str):
                    progress["skipped"].append([name, result])
                else:
                    file.write(result.tobytes())
                    progress["kept"] += 1
            file.flush()
            os.fsync(file.fileno())
            progress["taken"] += len(batch)
            write_atomically(out / PROGRESS, json.dumps(progress).encode())
            bar.update(len(batch))
        if not progress["kept"]:
            name, why = progress["skipped"][0]
            raise UserError(f"none of the {len(names)} pictures can be read, {printable(name)} for one: {why}")
        file.seek(0)
        file.write(_header(progress["kept"], size))
        file.flush()
        os.fsync(file.fileno())


def picture(content: bytes | str, size: int, box: tuple[int, int, int, int] | None) -> np.ndarray | str:
    """A file's bytes as (3, size, size) uint8, or in a few words why it is none; words in place of bytes stay."""
    if isinstance(content, str):
        return content
    try:
        with open_picture(io.BytesIO(content), "it") as opened:
            if box and (opened.width < box[2] or opened.height < box[3]):
                return f"{opened.width}×{opened.height}, too small for the box {box}"
            x = read_image(opened.crop(box) if box else opened, 0, (3, size, size), resize=True)
    except UserError as error:
        return type(error.__cause__).__name__ if error.__cause__ else str(error).removeprefix("image 0 ")
    except Exception as error:  # decoders meet broken files with many kinds of exception
        return type(error).__name__
    return x.add_(1).mul_(127.5).round_().to(torch.uint8).numpy()


def _bytes(read: Callable[[str], bytes], name: str) -> bytes | str:
    try:
        return read(name)
    except Unreadable as error:
        return str(error)
    except OSError as error:
        raise UserError(
            f"the source fails at {printable(name)} ({error.strerror}): run this again when it is back"
        ) from error


@contextlib.contextmanager
def _workers(jobs: int) -> Iterator[Callable]:
    """A map over `jobs` fresh processes, in order; with one job, over none."""
    if jobs == 1:
        yield lambda function, items: list(map(function, items))
        return
    fresh = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with concurrent.futures.ProcessPoolExecutor(jobs, fresh, _begin) as pool:
        try:
            yield lambda function, items: list(pool.map(function, items, chunksize=8))
        except concurrent.futures.process.BrokenProcessPool:
            raise UserError("a process died, of too little memory perhaps: run this again with fewer --jobs") from None


def _begin() -> None:
    """What a worker does first: the cores are shared out already, and Ctrl-C is the parent's to answer."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _header(count: int, size: int) -> bytes:
    """What stands before the pictures in images.npy; as long for every count."""
    buffer = io.BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": (count, 3, size, size)}
    np.lib.format.write_array_header_1_0(buffer, shape)
    return buffer.getvalue()


def _is_manifest(found: Any, size: int) -> bool:
    """Whether a manifest says what is read of it."""
    if not isinstance(found, dict) or type(found.get("count")) is not int:
        return False
    hashed = isinstance(found.get("sha256"), str) and re.fullmatch("[0-9a-f]{64}", found["sha256"])
    return bool(hashed) and found.get("shape") == [found["count"], 3, size, size] and type(found.get("skipped")) is dict


def _is_progress(found: Any, names: list[str], room: int) -> bool:
    """Whether a progress file says what is read of it, of these names, and the array has room for as many."""
    if (
        not isinstance(found, dict)
        or not isinstance(found.get("listed"), str)
        or type(found.get("skipped")) is not list
    ):
        return False
    counts = [found.get("taken"), found.get("kept")]
    known = set(names)
    pairs = all(
        isinstance(pair, list) and [type(one) for one in pair] == [str, str] and pair[0] in known
        for pair in found["skipped"]
    )
    whole = pairs and all(type(count) is int and count >= 0 for count in counts)
    return whole and counts[0] == counts[1] + len(found["skipped"]) and counts[1] <= room


def _json(path: Path, whole: Callable[[Any], bool]) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_text("utf-8"))
        if whole(found):
            return found
    raise UserError(f"{path} is missing or damaged: delete the folder {path.parent}, and prepare it again")
