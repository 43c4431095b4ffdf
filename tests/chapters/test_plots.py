"""Figures: what is drawn is what was given."""

import pytest
import torch
from matplotlib.figure import Figure
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
    assert plots.grids(one=torch.zeros(4, 1, 2, 2), size=(7, 3)).get_size_inches().tolist() == [7, 3]
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


@pytest.fixture
def axes():
    return Figure().subplots()


def drawn(axes) -> list[tuple]:
    """What stands on the axes: (label or None, x, y) of each line and of the dots."""
    return [
        (None if str(line.get_label()).startswith("_") else line.get_label(), *map(list, line.get_data()))
        for line in axes.get_lines()
    ]


def test_dots_are_the_values_and_their_mean_beside_the_mark(axes):
    plots.dots(axes, {"women": {"before": [0.5, 0.7], "after": [0.9]}, "seniors": {"before": [], "after": []}},
               {"women": 0.95, "seniors": None}, "real")  # fmt: skip
    assert drawn(axes) == [
        (None, [0.5, 0.7], [-0.12, -0.12]), ("before", [0.6], [-0.12]),
        (None, [0.9], [0.12]), ("after", [0.9], [0.12]),
        ("real", [0.95, 0.95], [-0.4, 0.4]),
        (None, [], []), (None, [], []), (None, [], []), (None, [], []),
    ]  # fmt: skip
    assert [(text.get_text(), text.xy[1]) for text in axes.texts] == [("pending", 1)]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["women", "seniors"]
    assert axes.get_ylim() == (1.5, -0.5)  # the first row is at the top


def test_curves_go_through_the_means_and_leave_out_what_is_pending(axes):
    plots.curves(axes, {"ours": {25: [3.0, 5.0], 100: [], 1000: [1.0]}, "theirs": {25: []}}, 0.5, "real")
    assert drawn(axes) == [
        ("ours", [25, 1000], [4.0, 1.0]), (None, [25, 25], [3.0, 5.0]), (None, [1000], [1.0]), ("theirs", [], []),
        ("real", [0, 1], [0.5, 0.5]),
    ]  # fmt: skip
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["25", "100", "1000"]
    assert not axes.texts


def test_curves_without_any_run_say_so(axes):
    plots.curves(axes, {"ours": {25: []}})
    assert [text.get_text() for text in axes.texts] == ["pending"]
