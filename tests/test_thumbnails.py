"""progress.png: what its rows show, which of them stay, and that neither kills nor damage nor a full disk matter."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from minegan_lite import Unmined, mine
from minegan_lite.thumbnails import LATEST, NAME, ROWS, SAMPLES, SEED, Thumbnails, drawn, read_rows, strip, thinned
from tests.kills.doors import by_class, images, several
from tests.tiny import tiny_gan, tiny_target

STEPS, SAVE_EVERY = 40, 15  # so many rows that those of after a checkpoint are thinned before the next
FAST = {"steps": STEPS, "batch": 4, "log_every": 1, "save_every": SAVE_EVERY, "progress": False, "device": "cpu"}


def pictured(out, then=lambda step: None, **options):
    """A run of mine() into a folder with its picture; then: called after each row, as if something happened there."""
    gan = tiny_gan()
    watch = Thumbnails(out, Unmined(gan), "source")

    def watched(mined):
        watch(mined)
        then(mined.history[-1]["step"])

    return mine(gan, tiny_target(), out=out, watch=watched, **FAST | options)


def rows_of(file) -> dict[int, bytes]:
    return {step: row.tobytes() for step, row in read_rows(file).items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("thumbnails") / "whole"
    pictured(out)
    return out


def as_bytes(images: torch.Tensor) -> np.ndarray:
    """uint8 (n, H, W) or (n, H, W, 3)."""
    return np.rint((images.clamp(-1, 1).numpy().transpose(0, 2, 3, 1).squeeze() + 1) * 127.5).astype(np.uint8)


def test_large_pictures_are_averaged_and_small_ones_repeated():
    rng = torch.Generator().manual_seed(0)
    large = torch.rand(2, 3, 256, 128, generator=rng) * 2 - 1
    row = np.asarray(strip(large)).astype(int)
    assert row.shape == (66, 2 * 33 + 1, 3)
    expected = as_bytes(large.unflatten(3, (32, 4)).unflatten(2, (64, 4)).mean((3, 5))).astype(int)
    for i in range(2):  # a value may lie a rounding away from the middle between two bytes
        assert abs(row[1:65, 33 * i + 1 : 33 * i + 33] - expected[i]).max() <= 1
    assert (row[:, 33] == 255).all()
    small = torch.rand(3, 1, 28, 28, generator=rng) * 2 - 1
    row = np.asarray(strip(small))
    assert row.shape == (58, 3 * 57 + 1)
    assert (row[1:57, 1:57] == as_bytes(small)[0].repeat(2, 0).repeat(2, 1)).all()


def test_whatever_a_generator_draws_has_a_picture():
    for shape in ((1, 6, 6), (2, 1, 1), (4, 8, 8), (3, 5, 1000)):
        odd = torch.tensor([float("nan"), float("inf"), -7.0])[torch.arange(2 * np.prod(shape)) % 3]
        row = strip(odd.view(2, *shape))
        assert row.mode == ("RGB" if shape[0] == 3 else "L")
        assert max(row.size) <= 2 * 65 + 1
        if shape == (1, 6, 6):
            assert np.unique(np.asarray(row)).tolist() == [0, 128, 255]


def test_rows_come_back_from_their_picture_and_stand_beside_their_steps(tmp_path):
    rng = torch.Generator().manual_seed(0)
    for channels in (1, 3):
        steps = [0, 50, 1_000_000]
        rows = {step: strip(torch.rand(SAMPLES, channels, 28, 28, generator=rng) * 2 - 1) for step in steps}
        (tmp_path / NAME).write_bytes(drawn(rows, "source"))
        assert rows_of(tmp_path / NAME) == {step: row.tobytes() for step, row in rows.items()}
        with Image.open(tmp_path / NAME) as picture:
            left, height = picture.width - rows[0].width, rows[0].height
            labels = np.asarray(picture.convert("L"))[:, :left]
        for i in range(3):
            label = labels[i * height : (i + 1) * height]
            rows_with_ink = np.flatnonzero((label < 128).any(1))
            assert 6 <= np.ptp(rows_with_ink) <= 16  # readable, and one line
            assert abs(rows_with_ink.mean() - height / 2) < 4  # in the middle of its row
            assert (label[:, [0, -1]] == 255).all()  # not cut
        assert (labels[:5] == 255).all()


@pytest.mark.parametrize("every", [lambda i: 50 * i, lambda i: i * i, lambda i: 1000 + i])
def test_the_middle_is_thinned_evenly_and_the_ends_stay(every):
    rows = {0: None}
    for i in range(1, 400):
        rows = thinned(rows | {every(i): None})
        kept = list(rows)
        assert kept == sorted(kept)
        assert len(kept) == min(i + 1, ROWS)
        assert kept[0] == 0
        assert kept[-LATEST:] == [0, *map(every, range(1, i + 1))][-LATEST:][-len(kept) :]
    if every(2) == 100:
        gaps = np.diff(kept[: -LATEST + 1])
        assert gaps.max() <= 4 * gaps.min()


def test_the_first_row_is_the_source_and_the_last_what_the_run_gives(tmp_path):
    mined = pictured(tmp_path / "run", steps=3)
    rows = rows_of(tmp_path / "run" / NAME)
    assert list(rows) == [0, 1, 2, 3]
    assert rows[0] == strip(Unmined(tiny_gan()).sample(SAMPLES, seed=SEED)).tobytes()
    assert rows[3] == strip(mined.sample(SAMPLES, seed=SEED)).tobytes()
    assert len(set(rows.values())) == 4
    with Image.open(tmp_path / "run" / NAME) as picture:
        assert picture.getpixel((0, 0)) == 255


@pytest.mark.filterwarnings("ignore:the generator of one-hot")
@pytest.mark.parametrize("kind", ["several", "one-hot", "embedded"])
def test_sources_that_compete_and_classes_are_watched_as_they_are_sampled(tmp_path, kind):
    gan = several() if kind == "several" else by_class(kind)
    watch = Thumbnails(tmp_path / "run", Unmined(gan), "source")
    options = {"steps": 2, "batch": 2, "progress": False, "device": "cpu", "out": tmp_path / "run", "watch": watch}
    mined = mine(gan, images(gan[0] if kind == "several" else gan), **options)
    rows = rows_of(tmp_path / "run" / NAME)
    assert rows == {
        0: strip(Unmined(gan).sample(SAMPLES, seed=SEED)).tobytes(),
        2: strip(mined.sample(SAMPLES, seed=SEED)).tobytes(),
    }


def test_a_picture_changes_nothing_else_of_a_run(whole, tmp_path):
    mine(tiny_gan(), tiny_target(), out=tmp_path / "run", **FAST)
    for name in ("run.json", "state.pt"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()
    assert sorted(os.listdir(tmp_path / "run")) == ["run.json", "state.pt"]
    assert sorted(os.listdir(whole)) == [NAME, "run.json", "state.pt"]


@pytest.mark.parametrize("stops", [[1], [15], [29], [40], [5, 20, 20], [33, 18]])
def test_a_run_that_is_stopped_after_a_row_ends_with_the_same_picture(whole, tmp_path, stops):
    out = tmp_path / "run"
    for stop in stops:

        def stopped(step, stop=stop):
            if step >= stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pictured(out, stopped)
    pictured(out)
    assert len(rows_of(out / NAME)) == ROWS
    for name in (NAME, "state.pt"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_rows_of_an_end_that_no_checkpoint_knows_go_when_the_run_is_longer(tmp_path):
    def stopped(step):
        if step == 5:
            raise KeyboardInterrupt

    for name, last in (("cut", 5), ("whole", 9)):
        options = {"steps": last, "log_every": 3, "save_every": 4}
        if name == "cut":
            with pytest.raises(KeyboardInterrupt):
                pictured(tmp_path / name, stopped, **options)
            assert list(rows_of(tmp_path / name / NAME)) == [0, 3, 5]
        pictured(tmp_path / name, **options | {"steps": 9})
    assert list(rows_of(tmp_path / "cut" / NAME)) == [0, 3, 6, 9]
    assert (tmp_path / "cut" / NAME).read_bytes() == (tmp_path / "whole" / NAME).read_bytes()


def another(path, **text):
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    for key, value in text.items():
        info.add_text(key, value)
    Image.new("L", (90, 60)).save(path, "PNG", pnginfo=info)


DAMAGE = {
    "missing": os.remove,
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "text": lambda path: path.write_text("no picture"),
    "a picture of one's own": another,
    "steps that are none": lambda path: another(path, minegan_lite='{"steps": ["x"], "left": 1}'),
    "no steps": lambda path: another(path, minegan_lite='{"steps": [], "left": 1}'),
    "steps out of order": lambda path: another(path, minegan_lite='{"steps": [1, 0], "left": 1}'),
    "no rows": lambda path: another(path, minegan_lite='{"steps": [0, 1], "left": 900}'),
    "rows of another size": lambda path: another(path, minegan_lite='{"steps": [0, 1], "left": 1}'),
    "another mode": lambda path: path.write_bytes(
        drawn({step: row.convert("RGB") for step, row in read_rows(path).items()}, "source")
    ),
    "no first row": lambda path: path.write_bytes(drawn({1: read_rows(path)[1]}, "source")),
    "a pipe": lambda path: (os.remove(path), os.mkfifo(path)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_picture_is_begun_anew(tmp_path, damage, capsys):
    out = tmp_path / "run"
    pictured(out, steps=2)
    expected = rows_of(out / NAME)
    assert list(expected) == [0, 1, 2]
    DAMAGE[damage](out / NAME)
    pictured(out, steps=3)
    if damage == "a pipe":  # which nothing is written to
        assert "not a file" in capsys.readouterr().err
        return
    rows = rows_of(out / NAME)
    assert list(rows) == [0, 3]
    assert rows[0] == expected[0]


def test_where_no_picture_can_be_written_a_line_says_so_once_and_rows_are_not_lost(whole, tmp_path, capsys):
    out = tmp_path / "run"

    def occupied(step):
        if step == 2:
            (out / NAME).unlink()
            (out / NAME).mkdir()
        if step == 4:
            (out / NAME).rmdir()

    pictured(out, occupied)
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if "cannot" in line] == [
        f"{out / NAME} cannot be written (not a file): the training goes on without it"
    ]
    assert [line for line in told if "grow" in line] == [
        f"see {out / NAME} grow: the same {SAMPLES} samples at each logged step"
    ]
    for name in (NAME, "state.pt"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
