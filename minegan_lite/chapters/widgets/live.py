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
    """The text of a script or style sheet of this folder, behind the shared part, live.js or live.css."""
    return "\n".join((FOLDER / file).read_text(encoding="utf-8") for file in (f"live{Path(name).suffix}", name))


class Drawn(anywidget.AnyWidget):
    """A picture that a script in the browser draws from traits, which Python alone writes.

    The browser reports when the traits have stopped changing. shown: everything that changes, in one dict.
    """

    shown = traitlets.Dict().tag(sync=True)


class Live(VBox):
    """Controls and drawn pictures in a box, and a static picture of them in the cell's next output.

    The static picture is renewed whenever the drawn ones have stopped changing. A page, GitHub, and a notebook that was
    reopened without its kernel show the static picture alone; JupyterLab and Notebook 7 hide it while the widget is
    there. A subclass defines `figure`, the same picture as a Matplotlib figure, and `__repr__`, its numbers as text.

    With ipykernel 7, JupyterLab handles the browser's messages in a thread of their own, also while a cell runs. `lock`
    is held by whatever both threads may do.
    """

    def __init__(self, children: Sequence[Widget], kind: str):
        """kind: the box's class in the style sheets."""
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
        """Renews the static picture if it is displayed, out of date and at least `pause` seconds old."""
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
        # anywidget makes the bundle that each front-end understands; ours differs only in the model that it shows, the
        # whole box instead of the first picture
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
    """An image (C, H, W) in [−1, 1] as a PNG inside a data: address, shrunk to at most 256 pixels a side."""
    buffer, picture = io.BytesIO(), Image.fromarray(pixels(image))
    picture.thumbnail((PIXELS, PIXELS), Image.Resampling.BOX, reducing_gap=None)
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
