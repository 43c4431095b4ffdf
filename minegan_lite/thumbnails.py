"""What a person watches while a run goes on: a picture in its folder, with a row of the same samples a logged step."""

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from torch import Tensor
from torch.nn import functional as F

from minegan_lite.chapters.plots import tile
from minegan_lite.data.images import open_picture
from minegan_lite.files import write_atomically
from minegan_lite.mined import Mined
from minegan_lite.progress import say

NAME = "progress.png"  # in the run folder
SAMPLES, SEED = 8, 0  # of each row
ROWS, LATEST = 16, 4  # a picture has so many at most (of photographs, 1 MB), and the last ones always
SIDE = 64  # pixels of a sample's longer side, at most
LETTERS, MARGIN = 13, 6  # pixels
LAYOUT = "minegan_lite"  # the PNG's text that says where the rows are

Rows = dict[int, Image.Image]  # by step, in the order of steps; 0: before the training


class Thumbnails:
    """A `watch` of mine() and finetune(): draws a row of samples for each logged step into run / NAME.

    run: the run folder. before: what draws the first row, with Mined's `sample`: the unmined source, or the result of
    stage one. called: that row's label.
    Where a run goes on, the rows are read back from the picture, which so ends with the bytes that it has where nothing
    stopped the run. A picture that is missing, damaged or of something else is begun anew. One that cannot be written
    costs a line on stderr; the training goes on, and the next one holds the missed rows, too.
    """

    def __init__(self, run: Path, before: Any, called: str):
        self.file, self.before, self.called = run / NAME, before, called
        self.rows: Rows = {}
        self.said: set[str] = set()

    def __call__(self, mined: Mined) -> None:
        logged = [entry["step"] for entry in mined.history]
        rows, now = self.rows or read_rows(self.file), logged[-1]
        # A killed run may have drawn rows that its last checkpoint does not know of: the same ones would come again.
        rows = {step: row for step, row in rows.items() if step in (0, *logged) or step > now}
        if max(rows, default=0) < now:
            row = strip(mined.sample(SAMPLES, seed=SEED))
            if 0 not in rows or (rows[0].size, rows[0].mode) != (row.size, row.mode):
                rows = {0: strip(self.before.sample(SAMPLES, seed=SEED))}
            rows = thinned(rows | {now: row})
            self._write(drawn(rows, self.called))
        self.rows = rows

    def _write(self, content: bytes) -> None:
        try:
            write_atomically(self.file, content)
            line = f"see {self.file} grow: the same {SAMPLES} samples at each logged step"
        except OSError as error:
            line = f"{self.file} cannot be written ({error.strerror or error}): the training goes on without it"
        if line not in self.said:
            self.said.add(line)
            say(line)


def strip(images: Tensor) -> Image.Image:
    """Images (n, C, H, W) in [−1, 1] side by side: larger ones averaged to SIDE pixels, small ones repeated.

    Where C is neither 1 nor 3 the channels are averaged. Values beyond [−1, 1] are clipped, NaN is grey.
    """
    images = images.nan_to_num()
    if images.shape[1] not in (1, 3):
        images = images.mean(1, keepdim=True)
    longest = max(images.shape[2:])
    if longest > SIDE:
        size = [max(1, round(side * SIDE / longest)) for side in images.shape[2:]]
        images = F.interpolate(images, size=size, mode="area")
    scale = max(1, SIDE // longest)
    images = images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    return Image.fromarray(tile(images, columns=len(images)).permute(1, 2, 0).squeeze(2).numpy())  # (H, W) or (H, W, 3)


def thinned(rows: Rows) -> Rows:
    """ROWS of the rows at most: the first, the last LATEST, and of those between the ones that lie widest apart.

    It goes by the steps alone, and takes one row away at a time: a row that is gone is never missed later.
    """
    rows = dict(rows)
    while len(rows) > ROWS:
        steps = list(rows)
        nearest = min(range(1, len(steps) - LATEST), key=lambda i: steps[i + 1] - steps[i - 1])
        del rows[steps[nearest]]
    return rows


def drawn(rows: Rows, called: str) -> bytes:
    """The rows as a PNG, each with its step at its left. All are as large as the first."""
    font = ImageFont.load_default(LETTERS)
    labels = [f"step {step}" if step else called for step in rows]
    left = 2 * MARGIN + max(round(font.getlength(label)) for label in labels)
    first = next(iter(rows.values()))
    picture = Image.new(first.mode, (left + first.width, len(rows) * first.height), "white")
    draw = ImageDraw.Draw(picture)
    for i, (label, row) in enumerate(zip(labels, rows.values(), strict=True)):
        picture.paste(row, (left, i * first.height))
        draw.text((left - MARGIN, (i + 0.5) * first.height), label, "black", font, anchor="rm")
    text, content = PngImagePlugin.PngInfo(), io.BytesIO()
    text.add_text(LAYOUT, json.dumps({"steps": list(rows), "left": left}))
    picture.save(content, "PNG", pnginfo=text)
    return content.getvalue()


def read_rows(file: Path) -> Rows:
    """The rows of a picture that `drawn` made; none where there is no such picture, or a damaged one."""
    try:
        with open_picture(file, NAME) as picture:
            picture.load()
            layout = json.loads(picture.info[LAYOUT])
            steps, left, height = layout["steps"], layout["left"], picture.height // len(layout["steps"])
            if steps != sorted({int(step) for step in steps}):
                return {}
            places = [(left, i * height, picture.width, (i + 1) * height) for i in range(len(steps))]
            return {step: picture.crop(place) for step, place in zip(steps, places, strict=True)}
    except Exception:  # what may be wrong with a file, and the text in it, has no common class
        return {}
