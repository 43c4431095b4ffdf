"""What the widgets share: images as the browser gets them, and nothing from anywhere else."""

import re
import subprocess
import sys

import pytest
import torch
from front_end import pixels

from minegan_lite.chapters.widgets import live
from minegan_lite.errors import UserError


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 5, 9), (1, 256, 256), (3, 1, 2)])
def test_an_image_reaches_the_browser_as_it_is(shape):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    shown = pixels(live.data_url(image))
    assert shown.shape == (shape[1:] if shape[0] == 1 else (*shape[1:], 3))
    assert (shown - ((image + 1) * 127.5).permute(1, 2, 0).reshape(shown.shape)).abs().max() <= 0.51


def test_a_large_image_is_made_smaller_by_averaging():
    image = torch.rand(3, 512, 1024, generator=torch.Generator().manual_seed(0)) * 2 - 1
    shown = pixels(live.data_url(image))
    means = (image.unfold(1, 4, 4).unfold(2, 4, 4).mean((3, 4)) + 1) * 127.5  # (3, 128, 256)
    assert shown.shape == (128, 256, 3)
    assert (shown - means.permute(1, 2, 0)).abs().max() <= 1.51  # rounded to bytes, and after each direction


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_are_refused(channels):
    with pytest.raises(UserError, match=f"1 or 3 channels can be shown, these have {channels}"):
        live.data_url(torch.zeros(channels, 4, 4))


def test_the_browser_is_sent_nowhere():
    files = [file for file in live.FOLDER.iterdir() if file.suffix in (".js", ".css")]
    assert len(files) > 2
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not re.findall(r"\bimport\b|fetch\(|url\(|@import", text)
        assert set(re.findall(r"https?://[^\"]+", text)) <= {"http://www.w3.org/2000/svg"}


def test_the_library_itself_needs_no_widgets():
    program = "import sys, minegan_lite; print([m for m in ('anywidget', 'ipywidgets', 'IPython') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
