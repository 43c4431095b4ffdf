"""Figures: what is drawn is what was given."""

import pytest
import torch
from PIL import Image

from minegan_lite.chapters import plots
from minegan_lite.errors import UserError


def test_tile_puts_each_image_in_its_place():
    images = torch.linspace(-1, 1, 5).view(5, 1, 1, 1).expand(5, 1, 2, 3)
    canvas = plots.tile(images, columns=3)
    assert canvas.shape == (1, 2 * 3 + 1, 3 * 4 + 1)
    for i, grey in enumerate((0, 64, 128, 191, 255)):  # (x + 1)·127.5, rounded
        top, left = 1 + i // 3 * 3, 1 + i % 3 * 4
        assert (canvas[0, top : top + 2, left : left + 3].int() - grey).abs().max() <= 1
    assert (canvas[0, 0] == 255).all()
    assert (canvas[0, 4:, 9:] == 255).all()  # the empty sixth place


def test_tile_clips_and_takes_colour():
    canvas = plots.tile(torch.tensor([3.0, -3.0, 0.0]).view(1, 3, 1, 1))
    assert canvas[:, 1, 1].tolist() == [255, 0, 128]


@pytest.mark.parametrize("images", [torch.zeros(0, 1, 2, 2), torch.zeros(1, 2, 2)])
def test_tile_refuses_what_is_no_batch(images):
    with pytest.raises(UserError, match="needs images"):
        plots.tile(images)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_save_grid_writes_a_png_of_the_grid(tmp_path, channels, mode):
    path = plots.save_grid(torch.zeros(4, channels, 5, 5), tmp_path / "grid.png", columns=2, scale=3)
    with Image.open(path) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", mode, (3 * 13, 3 * 13))


def test_save_grid_says_where_it_cannot_write(tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        plots.save_grid(torch.zeros(1, 1, 2, 2), tmp_path / "nowhere/grid.png")


def test_a_kill_or_a_device_leaves_the_picture_that_was_there(tmp_path, monkeypatch):
    path = plots.save_grid(torch.zeros(1, 1, 2, 2), tmp_path / "grid.png")
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        plots.save_grid(torch.ones(9, 1, 2, 2), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["grid.png"]
    with pytest.raises(UserError, match="not a file"):
        plots.save_grid(torch.ones(9, 1, 2, 2), "/dev/null")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_picture_is_made_of_what_is_not_finite(tmp_path, value):
    with pytest.raises(UserError, match="not finite"):
        plots.save_grid(torch.full((1, 1, 2, 2), value), tmp_path / "grid.png")
    assert list(tmp_path.iterdir()) == []


def test_figures_show_what_they_are_given():
    left, right = plots.grids(before_mining=torch.zeros(4, 1, 2, 2), after=torch.ones(4, 3, 2, 2)).axes
    assert (left.get_title(), right.get_title()) == ("before mining", "after")
    assert left.images[0].get_array()[1, 1] == 128
    assert right.images[0].get_array()[1, 1].tolist() == [255, 255, 255]

    entries = [{"step": s, "critic_loss": -s, "miner_loss": s, "penalty": 0.0, "metric": 1 / s} for s in (1, 2, 4)]
    losses, metric = plots.history(entries, metric="error").axes
    assert [line.get_ydata().tolist() for line in losses.lines] == [[-1, -2, -4], [1, 2, 4]]
    assert (metric.get_ylabel(), metric.lines[0].get_ydata().tolist()) == ("error", [1, 0.5, 0.25])

    u = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    lengths, plane = plots.latents(u, 2 * u + 1, arrows=5).axes
    assert len(plane.texts) == 5
    assert [len(points.get_offsets()) for points in plane.collections] == [50, 50]
    assert sum(bar.get_height() for bar in lengths.patches) == 100
