"""Open pictures that come with the package: drawn heads, far targets for a GAN that knows faces.

`packs/NAME.webp` is a sheet of 64×64 pictures, made by data_scripts/pack_emoji.py; `packs/NAME.md` beside it names the
artists, the licence, and what was changed.
"""

import functools
import hashlib
import io
from dataclasses import dataclass

import torch
from torch import Tensor

from minegan_lite.data.mnist import PACKS as FOLDER
from minegan_lite.errors import UserError

SIDE, COLUMNS = 64, 20  # pixels of a picture, pictures in a row of the sheet


@dataclass(frozen=True)
class Pack:
    """One pack: how many pictures its sheet holds, the sheet's sha256, and the terms they are passed on under."""

    count: int
    sha256: str
    licence: str


PACKS = {
    "fluent-heads": Pack(
        438,
        "a7fd0305205f2442c597fdda50cb5c6ef41093f3742715c78017d17726612559",
        "MIT (Fluent Emoji, Microsoft Corporation)",
    ),
    "noto-faces": Pack(
        93, "8c2d6b73aaba2e77cc595034994f770ee417ceb71678c90fd41fa111168d795c", "Apache-2.0 (Noto Emoji, Google)"
    ),
}


@functools.cache
def load_pack(name: str) -> Tensor:
    """The pictures of a pack on white, uint8 (N, 3, 64, 64), in the order of its maker script.

    "fluent-heads": shaded heads of grown-up people, 73 of them, each yellow and in five skin tones.
    "noto-faces": flat smileys. Raises UserError for another name and for a sheet that is missing or damaged.
    """
    import numpy as np
    from PIL import Image

    if name not in PACKS:
        raise UserError(f"unknown pack {name!r}: there are {', '.join(PACKS)}")
    path = FOLDER / f"{name}.webp"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): reinstall minegan-lite") from None
    if (found := hashlib.sha256(content).hexdigest()) != PACKS[name].sha256:
        raise UserError(
            f"{path} is damaged (sha256 {found[:12]}…, not {PACKS[name].sha256[:12]}…): reinstall minegan-lite"
        )
    with Image.open(io.BytesIO(content), formats=("WEBP",)) as sheet:
        pixels = torch.from_numpy(np.array(sheet.convert("RGB")))  # (rows·64, 20·64, 3)
    cells = pixels.unflatten(0, (-1, SIDE)).unflatten(2, (COLUMNS, SIDE))  # (rows, 64, 20, 64, 3)
    return cells.permute(0, 2, 4, 1, 3).flatten(0, 1)[: PACKS[name].count].contiguous()
