"""The pictures of a source: those of a labelled zip that its YAML selects, decoded once, and some of them held out."""

import csv
import io
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from archives import DAMAGED
from image_cache import prepare
from image_sources import open_source
from torch import Tensor

from minegan_lite.data.images import PREPARED
from minegan_lite.errors import UserError

LABELS = "labels.csv"  # in the zip: one line a picture, its path in the zip (or from the csv's folder on) under "file"


class Pictures(NamedTuple):
    """train (n, 3, size, size) and held_out (m, 3, size, size), both uint8; facts: what a run and its card say."""

    train: Tensor
    held_out: Tensor
    facts: dict[str, Any]


def load_pictures(spec: dict[str, Any], size: int, root: Path, cache: Path) -> Pictures:
    """What a source's `pictures` asks for.

    spec: `zip`, a file in root; `where`, {column: value or list of values} of its labels.csv, all of them where it is
    absent; `held_out`, such a selection, or a number of pictures drawn with seed 0 from the whole zip, so that sources
    of one zip hold out the same. cache: a folder for the decoded pictures of the whole zip, made once.
    Raises UserError for a zip that is missing or damaged, without such columns, or where nothing is selected.
    """
    path = root / spec["zip"]
    names, read = open_source(path)
    request = {"zip": path.name, "size": size}
    manifest = prepare(
        names, read, cache / f"{path.stem}-{size}", request=request, box=None, jobs=1, facts={"source": path.name}
    )
    images = torch.from_numpy(np.load(cache / f"{path.stem}-{size}" / PREPARED, mmap_mode="r").copy())
    rows = labels_of(path)
    files = manifest["files"]
    if missing := [name for name in files if name not in rows]:
        raise UserError(f"{LABELS} in {path} has no line for {missing[0]}: get the zip from its origin")
    columns = {key: [rows[name].get(key) for name in files] for key in rows[files[0]]}

    def chosen(where: dict[str, Any]) -> Tensor:
        keep = torch.ones(len(files), dtype=torch.bool)
        for column, values in where.items():
            if column not in columns:
                raise UserError(f"{LABELS} in {path} has no column {column}: it has {', '.join(columns)}")
            allowed = {str(value) for value in (values if isinstance(values, list) else [values])}
            keep &= torch.tensor([value in allowed for value in columns[column]])
        return keep

    of_kind, out = chosen(spec.get("where", {})), spec["held_out"]
    if isinstance(out, int):
        apart = torch.zeros(len(files), dtype=torch.bool)
        apart[torch.randperm(len(files), generator=torch.Generator().manual_seed(0))[:out]] = True
    else:
        apart = chosen(out)
    train, held_out = images[of_kind & ~apart], images[of_kind & apart]
    if not (len(train) and len(held_out)):
        raise UserError(f"{path} has {len(train)} pictures to train on and {len(held_out)} to hold out: change `where`")
    facts = {"pictures_sha256": manifest["sha256"], "train_count": len(train), "held_out_count": len(held_out)}
    return Pictures(train, held_out, facts)


def labels_of(path: Path) -> dict[str, dict[str, str]]:
    """The lines of labels.csv by the picture's name in the zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            where = next((name for name in archive.namelist() if name.rpartition("/")[2] == LABELS), None)
            if where is None:
                raise UserError(f"{path} has no {LABELS}: a source needs it to know which pictures are whose")
            rows = list(csv.DictReader(io.StringIO(archive.read(where).decode("utf-8"))))
    except DAMAGED as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{LABELS} in {path} cannot be read ({type(error).__name__}): get the zip anew") from error
    if not rows or "file" not in rows[0]:
        raise UserError(f"{LABELS} in {path} has no column file: get the zip from its origin")
    folder = where.rpartition("/")[0]
    return {row["file"]: row for row in rows} | {f"{folder}/{row['file']}": row for row in rows if folder}
