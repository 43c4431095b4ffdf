"""Pictures prepared once: decoded, cropped and resized in parallel into one uint8 array that few_shot reads.

A prepared folder holds images.npy, (N, 3, size, size) uint8 in the order of the names, and manifest.json, which says
what they are. While it is being made it holds images.npy.part and progress.json, and goes on from there after a kill.
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
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fetching import sha256
from image_sources import Unreadable
from PIL import Image
from tqdm.auto import tqdm

from minegan_lite import __version__
from minegan_lite.errors import UserError
from minegan_lite.images import MANIFEST, PREPARED, read_image
from minegan_lite.runs import RunFolder, write_atomically

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
    manifest = _json(out / MANIFEST)
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
    cannot be read is left out, and the manifest counts and names it.
    Raises UserError where the folder holds something else, the source has changed since the last call or fails, no
    picture can be read, or a process dies.
    """
    RunFolder(out, request)
    size, listed = request["size"], hashlib.sha256("\n".join(names).encode()).hexdigest()
    part, length = out / f"{PREPARED}.part", len(_header(0, size))
    progress = _json(out / PROGRESS) if (out / PROGRESS).exists() and part.exists() else None
    progress = progress or {"listed": listed, "taken": 0, "kept": 0, "skipped": []}
    if progress["listed"] != listed:
        raise UserError(
            f"the source has other pictures than when {out} was begun: delete that folder, or choose another"
        )
    jobs = min(jobs, 1 + (len(names) - progress["taken"]) // WORTH)
    bar = tqdm(total=len(names), initial=progress["taken"], unit=" pictures")
    with bar, open(part, "r+b" if progress["taken"] else "wb") as file, _workers(jobs) as run:
        file.write(_header(0, size))
        file.truncate(length + progress["kept"] * 3 * size**2)  # what a killed call wrote after its last safe point
        file.seek(0, os.SEEK_END)
        while progress["taken"] < len(names):
            batch = names[progress["taken"] : progress["taken"] + BATCH]
            pictures = run(functools.partial(picture, size=size, box=box), [_bytes(read, name) for name in batch])
            for name, result in zip(batch, pictures, strict=True):
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
            raise UserError(
                f"none of the {len(names)} pictures can be read, {names[0]} for one: {progress['skipped'][0][1]}"
            )
        file.seek(0)
        file.write(_header(progress["kept"], size))
        file.flush()
        os.fsync(file.fileno())
    skipped = dict(progress["skipped"])
    manifest = {
        **facts, "count": progress["kept"], "shape": [progress["kept"], 3, size, size], "dtype": "uint8",
        "resize": RESIZE, "skipped": skipped, "sha256": sha256(part), "date": datetime.date.today().isoformat(),
        "minegan_lite": __version__, "files": [name for name in names if name not in skipped],
    }  # fmt: skip
    write_atomically(out / MANIFEST, (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())
    part.replace(out / PREPARED)
    (out / PROGRESS).unlink()
    return manifest


def picture(content: bytes | str, size: int, box: tuple[int, int, int, int] | None) -> np.ndarray | str:
    """A file's bytes as (3, size, size) uint8, or in a few words why it is none; words in place of bytes stay."""
    if isinstance(content, str):
        return content
    try:
        with Image.open(io.BytesIO(content)) as opened:
            if box and (opened.width < box[2] or opened.height < box[3]):
                return f"{opened.width}×{opened.height}, too small for the box {box}"
            x = read_image(opened.crop(box) if box else opened, 0, (3, size, size), resize=True)
    except Exception as error:  # decoders meet broken files with many kinds of exception
        return type(error.__cause__ or error).__name__
    return x.add_(1).mul_(127.5).round_().to(torch.uint8).numpy()


def _bytes(read: Callable[[str], bytes], name: str) -> bytes | str:
    try:
        return read(name)
    except Unreadable as error:
        return str(error)
    except OSError as error:
        raise UserError(f"the source fails at {name} ({error.strerror}): run this again when it is back") from error


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


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is missing or damaged: delete the folder {path.parent}, and prepare it again"
        ) from error
