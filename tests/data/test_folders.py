"""Targets from folders and lists: what few_shot draws from them, and the one clear line for each bad picture."""

import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from minegan_lite import data
from minegan_lite.data.folders import files_below
from minegan_lite.data.images import Unsigned
from minegan_lite.errors import UserError

SHAPE = (1, 8, 8)


@pytest.fixture
def folder(tmp_path):
    """Ten grey 8×8 pictures, each of one value 0, 20, … 180."""
    folder = tmp_path / "grey pictures"
    folder.mkdir()
    for i in range(10):
        Image.new("L", (8, 8), 20 * i).save(folder / f"{i}.png")
    return folder


def test_a_folder_is_split_by_seed(folder):
    (folder / ".DS_Store").write_text("hidden files are none of ours")
    target = data.few_shot(folder, image_shape=SHAPE, seed=1)
    assert (target.train.shape, target.held_out.shape) == ((8, *SHAPE), (2, *SHAPE))
    assert (target.name, target.origin, target.digit) == ("grey pictures", "folder", None)
    assert target.train.dtype == torch.float32
    values = torch.cat([target.train, target.held_out])[:, 0, 0, 0]
    torch.testing.assert_close(values.sort().values, torch.arange(0, 200, 20) / 127.5 - 1)
    again = data.few_shot(str(folder), image_shape=SHAPE, seed=1)
    assert torch.equal(again.train, target.train)
    assert torch.equal(again.held_out, target.held_out)
    assert not torch.equal(data.few_shot(folder, image_shape=SHAPE, seed=2).train, target.train)
    assert len(data.few_shot(folder, image_shape=SHAPE, n=3).held_out) == 7


def test_subfolders_count_and_hidden_ones_do_not(folder, tmp_path):
    """The pictures in the order of their paths, as if they had lain in one folder."""
    nested, flat = tmp_path / "nested", tmp_path / "flat"
    flat.mkdir()
    places = ["b.png", "a/2.png", "a/deep/1.png", "a b/1.png", "c/x.png", "A/z.png"]
    for value, (name, place) in enumerate(zip("dbcaeA", places, strict=True)):
        (nested / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 20 * value).save(nested / place)
        Image.new("L", (8, 8), 20 * value).save(flat / f"{name}.png")
    for hidden in (".git/config", "a/.cache/x", "c/.DS_Store"):
        (nested / hidden).parent.mkdir(parents=True, exist_ok=True)
        (nested / hidden).write_text("hidden files are none of ours")
    assert sorted(places) == [places["dbcaeA".index(name)] for name in sorted("dbcaeA")]
    own, other = (data.few_shot(path, image_shape=SHAPE, seed=3) for path in (nested, flat))
    assert torch.equal(own.train, other.train)
    assert torch.equal(own.held_out, other.held_out)
    assert data.few_shot(**own.request).train.equal(own.train)


def test_links_are_followed_and_no_folder_counts_twice(folder, tmp_path):
    """Else a picture could be mined with and held out; and a link to the folder itself would have no end."""
    source = tmp_path / "links"
    source.mkdir()
    (source / "b").symlink_to(folder)
    (source / "a").symlink_to(folder)
    (folder / "up").symlink_to(source)
    (folder / "itself").symlink_to(folder)
    assert [path.relative_to(source).as_posix() for path in files_below(source)] == [f"a/{i}.png" for i in range(10)]
    target = data.few_shot(source, image_shape=SHAPE)
    values = torch.cat([target.train, target.held_out])[:, 0, 0, 0]
    torch.testing.assert_close(values.sort().values, torch.arange(0, 200, 20) / 127.5 - 1)


def test_a_folder_that_cannot_be_entered_is_one_line(folder, tmp_path):
    """As another user than root, whom no rights stop."""
    locked = folder / "locked"
    locked.mkdir()
    locked.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        for source in (folder, locked):
            with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)") as caught:
                data.few_shot(source, image_shape=SHAPE)
            assert "\n" not in str(caught.value)
    finally:
        os.seteuid(user)
        locked.chmod(0o755)


def test_a_prepared_array_is_the_pictures_in_their_order(folder, tmp_path):
    """What data_scripts/prepare_images.py leaves, without that script: images.npy, uint8 (N, C, H, W)."""
    pictures = torch.stack([torch.full(SHAPE, 20 * i, dtype=torch.uint8) for i in range(10)])
    np.save(tmp_path / "images.npy", pictures.numpy())
    (tmp_path / "manifest.json").write_text("{}")
    own, other = (data.few_shot(source, image_shape=SHAPE, n=4, seed=5) for source in (tmp_path, folder))
    assert torch.equal(own.train, other.train)
    assert torch.equal(own.held_out, other.held_out)
    assert data.few_shot(**own.request).train.equal(own.train)
    assert data.few_shot(tmp_path, image_shape=(1, 4, 4), resize=True).train.shape == (8, 1, 4, 4)
    with pytest.raises(UserError, match=r"image 0 has shape \(1, 8, 8\)"):
        data.few_shot(tmp_path, image_shape=(1, 4, 4))


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 1, 8, 8)), "holds no pictures"),
        (np.zeros((4, 8, 8), np.uint8), "holds no pictures"),
        (np.array([{}]), "is damaged"),  # pickled: not opened
        (np.asfortranarray(np.zeros((4, 1, 8, 8), np.uint8)), "in C order"),
    ],
)
def test_an_array_that_is_not_of_pictures_is_refused(tmp_path, array, said):
    np.save(tmp_path / "images.npy", array)
    with pytest.raises(UserError, match=said):
        data.few_shot(tmp_path, image_shape=SHAPE)


def test_a_prepared_array_that_is_something_else_is_refused(tmp_path):
    path = tmp_path / "images.npy"
    header = b"\x93NUMPY\x01\x00"
    spoilt = [b"no array", header + b"\x10\x00{'descr': '|u1',(", header + b"\x02\x00((", b"\x93NUMPY\x09\x00"]
    for shape in ((-4, 1, 8, 8), (1 << 60, 1, 8, 8), (5, 1, 8, 8)):
        text = repr({"descr": "|u1", "fortran_order": False, "shape": shape}).encode() + b"\n"
        spoilt.append(header + len(text).to_bytes(2, "little") + text + bytes(256))
    for content in spoilt:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"images\.npy is damaged") as caught:
            data.few_shot(tmp_path, image_shape=SHAPE)
        assert "\n" not in str(caught.value)
    np.savez(tmp_path / "z.npz", np.zeros((4, *SHAPE), np.uint8))
    (tmp_path / "z.npz").replace(path)  # a zip, which numpy would open
    with pytest.raises(UserError, match="is damaged"):
        data.few_shot(tmp_path, image_shape=SHAPE)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="is a pipe"):
        data.few_shot(tmp_path, image_shape=SHAPE)


def test_a_prepared_array_that_was_cut_is_refused(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((4, *SHAPE), np.uint8))
    for size in (200, 50, 0):
        os.truncate(tmp_path / "images.npy", size)
        with pytest.raises(UserError, match="is damaged"):
            data.few_shot(tmp_path, image_shape=SHAPE)
    (tmp_path / "images.npy").rename(tmp_path / "images.npy.part")
    with pytest.raises(UserError, match="not prepared to the end"):
        data.few_shot(tmp_path, image_shape=SHAPE)


def test_paths_pictures_and_tensors_are_one(folder):
    paths = sorted(folder.iterdir())
    pictures = [Image.open(path) for path in paths]
    bytes_ = [torch.full(SHAPE, 20 * i, dtype=torch.uint8) for i in range(10)]
    floats = [data.to_signed(x) for x in bytes_]
    targets = [
        data.few_shot(x, image_shape=SHAPE) for x in (folder, paths, pictures, bytes_, floats, torch.stack(floats))
    ]
    for target in targets[1:]:
        assert torch.equal(target.train, targets[0].train)
        assert (target.origin, target.name) == ("images", "images")


def test_colours_keep_their_order(tmp_path):
    for i in range(4):
        Image.new("RGB", (4, 2), (255, 0, 51)).save(tmp_path / f"{i}.png")
    target = data.few_shot(tmp_path, image_shape=(3, 2, 4))
    torch.testing.assert_close(target.train[0, :, 1, 3], torch.tensor([1.0, -1.0, -0.6]))


def test_resize_covers_and_crops_the_centre():
    wide = np.zeros((16, 64), np.uint8)
    wide[:, 24:40] = 255  # the middle quarter: exactly what a square crop keeps
    target = data.few_shot([Image.fromarray(wide)] * 4, image_shape=SHAPE, resize=True)
    assert target.train.shape[1:] == SHAPE
    assert target.train[:, :, :, 1:-1].min() > 0.99
    tensors = data.few_shot([torch.from_numpy(wide)[None]] * 4, image_shape=SHAPE, resize=True)
    assert torch.equal(tensors.train, target.train)


def test_resize_is_antialiased():
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    target = data.few_shot([Image.fromarray(stripes)] * 4, image_shape=SHAPE, resize=True)
    assert target.train[..., 1:-1].abs().max() < 0.1  # mid grey; picking pixels would give black or white


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "LA"])
def test_resize_converts_modes(mode):
    white = [Image.new("L", (8, 8), 255).convert(mode)] * 4
    for channels in (1, 3):
        target = data.few_shot(white, image_shape=(channels, 8, 8), resize=True)
        assert torch.equal(target.train, torch.ones(2, channels, 8, 8))
    with pytest.raises(UserError, match="image 0 has"):
        data.few_shot(white, image_shape=SHAPE)


def spoil_text(folder):
    (folder / "5 notes.txt").write_text("not an image")


def spoil_truncated(folder):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / "5 notes.txt.png")
    path = folder / "5 notes.txt.png"
    path.write_bytes(path.read_bytes()[:-40])


def spoil_subfolder(folder):
    (folder / "class 5").mkdir()
    (folder / "class 5" / "5 notes.txt").write_text("not an image")


def spoil_link(folder):
    (folder / "5 notes.txt").symlink_to("5 notes.txt")


def spoil_pipe(folder):
    os.mkfifo(folder / "5 notes.txt")


def spoil_size(folder):
    Image.new("L", (9, 8)).save(folder / "5 notes.txt.png")


def spoil_channels(folder):
    Image.new("RGB", (8, 8)).save(folder / "5 notes.txt.png")


def spoil_depth(folder):
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(folder / "5 notes.txt.png")


@pytest.mark.parametrize(
    "spoil",
    [spoil_text, spoil_truncated, spoil_subfolder, spoil_link, spoil_pipe, spoil_size, spoil_channels, spoil_depth],
)
def test_one_bad_file_is_refused_by_name(folder, spoil):
    spoil(folder)
    with pytest.raises(UserError, match=r"5 notes\.txt") as caught:
        data.few_shot(folder, image_shape=SHAPE)
    assert "\n" not in str(caught.value)


def test_the_wrong_shape_is_named(folder):
    with pytest.raises(UserError, match=r"\(1, 8, 8\).*draws \(1, 28, 28\)"):
        data.few_shot(folder, image_shape=(1, 28, 28))
    assert data.few_shot(folder, image_shape=(1, 28, 28), resize=True).train.shape[1:] == (1, 28, 28)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_images_are_refused(tmp_path, count):
    for i in range(count):
        Image.new("L", (8, 8)).save(tmp_path / f"{i}.png")
    with pytest.raises(UserError, match=f"holds {count} images"):
        data.few_shot(tmp_path, image_shape=SHAPE)


def test_too_many_asked_of_a_folder_says_how_many_there_are(folder):
    with pytest.raises(UserError, match="holds 10 images: at most 8"):
        data.few_shot(folder, n=9, image_shape=SHAPE)
    assert len(data.few_shot(folder, n=8, image_shape=SHAPE).train) == 8


def test_a_missing_folder_and_a_file_are_refused(folder):
    for path in (folder / "nowhere", folder / "0.png"):
        with pytest.raises(UserError, match="is no folder"):
            data.few_shot(path, image_shape=SHAPE)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_an_impossible_name_is_one_line(name):
    with pytest.raises(UserError, match="cannot be read"):
        data.few_shot(name, image_shape=SHAPE)


@pytest.mark.parametrize("shape", [8, (8, 8), (1, 8, 0), (1, 8, 8.0), "188"])
def test_a_folder_needs_the_shape_of_the_generator(folder, shape):
    with pytest.raises(UserError, match="image_shape"):
        data.few_shot(folder, image_shape=shape)


def test_floats_in_0_1_are_warned_of_as_a_set():
    """A single picture may be bright, and bytes are what they are."""
    bright, dark = torch.full(SHAPE, 0.5), torch.full(SHAPE, -0.5)
    with pytest.warns(Unsigned, match="the images hold no value below 0"):
        data.few_shot([bright] * 4, image_shape=SHAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.few_shot([bright, bright, bright, dark], image_shape=SHAPE)
        data.few_shot([torch.full(SHAPE, 200, dtype=torch.uint8)] * 4, image_shape=SHAPE)
        data.few_shot([Image.new("L", (8, 8), "white")] * 4, image_shape=SHAPE)


@pytest.mark.parametrize(
    "spoiled",
    [
        torch.full(SHAPE, float("nan")),
        torch.full(SHAPE, float("inf")),
        torch.full(SHAPE, 1.5),
        torch.full(SHAPE, 200),
        torch.zeros(8, 8),
        torch.zeros(3, 8, 8),
        torch.zeros(1, 8, 9),
        np.zeros(SHAPE),
        "nowhere.png",
        None,
    ],
)
def test_one_bad_item_of_a_list_is_refused(spoiled):
    good = [torch.zeros(SHAPE)] * 4
    with pytest.raises(UserError, match=r"image 4|nowhere\.png") as caught:
        data.few_shot([*good, spoiled], image_shape=SHAPE)
    assert "\n" not in str(caught.value)


def test_resize_does_not_guess_the_channels_of_a_tensor():
    with pytest.raises(UserError, match=r"\(3, 9, 9\)"):
        data.few_shot([torch.zeros(3, 9, 9)] * 4, image_shape=SHAPE, resize=True)


def test_without_a_shape_the_pictures_own_is_taken_and_all_must_have_it(folder, tmp_path):
    own = data.few_shot(folder)
    assert torch.equal(own.train, data.few_shot(folder, image_shape=SHAPE).train)
    assert own.request["image_shape"] == list(SHAPE)
    tensors = [torch.zeros(3, 4, 5)] * 4
    assert data.few_shot([*tensors, torch.full((3, 4, 5), -1.0)]).train.shape == (3, 3, 4, 5)
    with pytest.raises(UserError, match="has shape"):
        data.few_shot([*tensors, torch.full((3, 5, 4), -1.0)])
    with pytest.raises(UserError, match="image_shape"):
        data.few_shot(folder, resize=True)
