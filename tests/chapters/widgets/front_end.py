"""What a front-end sends to a widget and reads of it."""

import base64
import io
import re

import numpy as np
import torch
from PIL import Image

from minegan_lite.chapters.widgets import live


def from_browser(widget, **state):
    """A message as a front-end sends it when a reader moves a control."""
    widget._handle_msg({"content": {"data": {"method": "update", "state": state, "buffer_paths": []}}, "buffers": []})


def click(button):
    _custom(button, {"event": "click"})


def rest(picture):
    """What the browser says when a picture has come to rest."""
    _custom(picture, {"rest": True})


def _custom(widget, content):
    widget._handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})


def pixels(url: str) -> torch.Tensor:
    kind, _, content = url.partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        return torch.from_numpy(np.array(picture))


def check_contract(widget, pictures, name: str, traits: set[str]) -> None:
    """The script name.js reads the traits and the keys that Python writes, with the classes that name.css styles."""
    own, shared = ((live.FOLDER / f"{part}.js").read_text(encoding="utf-8") for part in (name, "live"))
    script = shared + "\n" + own
    assert set(re.findall(r'model\.get\("(\w+)"\)', script)) == traits
    assert set(re.findall(r'"change:(\w+)"', script)) == {"shown"}
    styles = live.front_end(f"{name}.css")
    for picture in pictures:
        assert traits <= set(picture.trait_names(sync=True))
        assert set(re.findall(r"\bshown\.(\w+)", own)) == set(picture.shown)
        assert (picture._esm, picture._css) == (script, styles)
    named = re.findall(r'class: "([^"]+)"', script) + re.findall(r'classList\.toggle\("([^"]+)"', script)
    kind = name.replace("_", "-")
    assert set(re.findall(rf"\.({kind}[\w-]*|live-widget)", styles)) == {*named, "live-widget"}
    assert {kind, "live-widget"} <= set(widget._dom_classes)
