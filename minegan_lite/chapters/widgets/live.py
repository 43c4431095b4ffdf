"""What the widgets have in common: pictures that the browser draws, and a static one for where there is no kernel."""

import base64
import io
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from IPython.display import display, update_display
from ipywidgets import BoundedIntText, VBox, Widget
from PIL import Image
from torch import Tensor

from minegan_lite.chapters import plots
from minegan_lite.errors import UserError

SEEDS = 9999
PIXELS = 256  # an image's longer side, at most, when it is sent to the browser
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
FOLDER = Path(__file__).parent


def front_end(name: str) -> str:
    """The text of a script or style sheet of this folder, after what all of its kind share (live.js, live.css)."""
    return "\n".join((FOLDER / file).read_text(encoding="utf-8") for file in (f"live{Path(name).suffix}", name))


class Drawn(anywidget.AnyWidget):
    """What a script draws: Python writes the traits, the browser only reads them, and says when they came to rest.

    shown: all that changes, in one piece.
    """

    shown = traitlets.Dict().tag(sync=True)


class Live(VBox):
    """Controls and drawn pictures in a box, and in the cell's next output a static picture of them.

    That one is renewed whenever the pictures come to rest, and is all that a page, GitHub, or a notebook reopened
    without its kernel shows. JupyterLab and Notebook 7 hide it as long as the widget itself is there.
    A subclass gives `figure`, the same picture as a Matplotlib figure, and `__repr__`, its numbers as text.

    JupyterLab lets a kernel that knows subshells (ipykernel 7) handle what the browser says in a thread of its own,
    also while a cell runs: hence `lock`, for what both may do.
    """

    def __init__(self, children: Sequence[Widget], kind: str):
        """kind: a class of the style sheets, for the box."""
        self._drawn = [child for child in children if isinstance(child, Drawn)]
        self._displayed, self._stale, self._renewed = False, True, 0.0
        self.lock = threading.RLock()
        for picture in self._drawn:
            picture.observe(self._changed, "shown")
            picture.on_msg(lambda *_: self.renew())
        super().__init__(children, layout={"max_width": "50em"})
        self.add_class("live-widget")
        self.add_class(kind)

    def _changed(self, _change: Any) -> None:
        self._stale = True

    def renew(self, pause: float = 0.0) -> None:
        """Renews the static picture, if it stands somewhere, is out of date and at least `pause` seconds old."""
        with self.lock:
            if self._displayed and self._stale and time.monotonic() - self._renewed >= pause:
                update_display(self._still(), raw=True, display_id=self.model_id)

    def _still(self) -> dict[str, str]:
        """The static picture as a MIME bundle: the image, and its numbers as text."""
        buffer = io.BytesIO()
        self._stale = False  # before it is drawn: what changes meanwhile is for the next one
        self.figure().savefig(buffer, format="png", dpi=80)
        self._renewed = time.monotonic()
        return {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": repr(self)}

    def _ipython_display_(self) -> None:
        # anywidget knows what each front-end wants to be told; only the model to show is another
        drawn = self._drawn[0]._repr_mimebundle_()
        assert drawn is not None  # it is where a widget has no front-end, and these have theirs
        bundle, metadata = drawn
        bundle = {"text/plain": repr(self), WIDGET_VIEW: bundle[WIDGET_VIEW] | {"model_id": self.model_id}}
        display(bundle, raw=True, metadata=metadata)
        display(self._still(), raw=True, display_id=self.model_id)
        self._displayed = True


def seed_control(seed: int, description: str) -> BoundedIntText:
    """A control for a seed from 0 to 9999. Raises UserError for a first value outside."""
    if not 0 <= seed <= SEEDS:
        raise UserError(f"the seed must lie between 0 and {SEEDS}, got {seed}")
    style = {"description_width": "10em"}
    return BoundedIntText(seed, min=0, max=SEEDS, description=description, style=style, layout={"width": "17em"})


def pixels(image: Tensor) -> np.ndarray:
    """An image (C, H, W) in [−1, 1] → uint8 (H, W) or (H, W, 3). Raises UserError unless C is 1 or 3."""
    if len(image) not in (1, 3):
        raise UserError(f"only images of 1 or 3 channels can be shown, these have {len(image)}")
    return plots.tile(image[None], gap=0).permute(1, 2, 0).squeeze(2).numpy()  # (H, W) or (H, W, 3)


def data_url(image: Tensor) -> str:
    """An image (C, H, W) in [−1, 1] as a PNG that needs no request, made smaller if it is longer than 256 pixels."""
    buffer, picture = io.BytesIO(), Image.fromarray(pixels(image))
    picture.thumbnail((PIXELS, PIXELS), Image.Resampling.BOX, reducing_gap=None)
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
