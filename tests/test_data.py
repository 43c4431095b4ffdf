"""Data: what few_shot draws, and the one clear line for each bad input."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from minegan_lite import data
from minegan_lite.errors import UserError

SHAPE = (1, 8, 8)


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


# --- MNIST itself -----------------------------------------------------------------------------------------------


def test_mnist_target_is_n_images_of_the_digit_and_all_of_its_test_images():
    target = data.few_shot("mnist", digit=9, n=100, seed=3)
    train, labels = data.load_mnist("train")
    test, test_labels = data.load_mnist("test")
    assert (target.name, target.digit, target.origin, target.seed) == ("mnist:9", 9, "mnist", 3)
    assert target.train.shape == (100, 1, 28, 28)
    assert target.train.dtype == target.held_out.dtype == torch.float32
    nines = rows(train[labels == 9] / 127.5 - 1)
    assert len(rows(target.train)) == 100
    assert rows(target.train) <= nines
    assert torch.equal(target.held_out, test[test_labels == 9] / 127.5 - 1)
    assert len(target.held_out) == 1009  # of MNIST's 10,000 test digits
    assert not rows(target.train) & rows(target.held_out)


def test_mnist_default_is_a_thousand_images():
    assert len(data.few_shot("mnist", digit=5).train) == 1000


def test_too_many_images_says_how_many_there_are():
    with pytest.raises(UserError, match="5949 images of the digit 9"):  # the published count
        data.few_shot("mnist", digit=9, n=5950)
    assert len(data.few_shot("mnist", digit=9, n=5949).train) == 5949


# --- several digits by their shares ----------------------------------------------------------------------------


@pytest.mark.parametrize("shares", [{0: 0.3, 7: 0.7}, {7: 0.5, 0: 0.5}, {1: 0.2, 2: 0.3, 3: 0.5}])
def test_a_mix_has_its_shares_in_both_parts(shares):
    target = data.few_shot("mnist", mix=shares, n=1000, seed=2)
    train, labels = data.load_mnist("train")
    test, test_labels = data.load_mnist("test")
    assert len(target.train) == 1000
    assert target.digit is None
    assert target.name == "mnist:" + "+".join(f"{digit}×{share:g}" for digit, share in shares.items())
    for images, pool, pool_labels in ((target.train, train, labels), (target.held_out, test, test_labels)):
        drawn = rows(images)
        counts = {d: len(drawn & rows(data.to_signed(pool[pool_labels == d]))) for d in shares}
        assert sum(counts.values()) == len(images)
        for digit, share in shares.items():
            assert counts[digit] == pytest.approx(share * len(images), abs=1)
    most = min((test_labels == digit).sum().item() / share for digit, share in shares.items())
    assert len(target.held_out) == pytest.approx(most, abs=2)  # as many as the shares allow
    middle = target.train[:100]
    assert all(rows(middle) & rows(data.to_signed(train[labels == digit])) for digit in shares)  # shuffled


def test_a_mix_is_drawn_by_its_seed_and_repeated_by_its_request():
    target = data.few_shot("uci-digits", mix=[[0, 0.5], [7, 0.5]], n=60, seed=1)
    again = data.few_shot(**json.loads(json.dumps(target.request)))
    assert torch.equal(target.train, again.train)
    assert torch.equal(target.held_out, again.held_out)
    assert not torch.equal(target.train, data.few_shot("uci-digits", mix={0: 0.5, 7: 0.5}, n=60, seed=2).train)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"mix": {0: 1.0}}, "at least two digits"),
        ({"mix": {0: 0.5, 10: 0.5}}, "from 0 to 9"),
        ({"mix": {0: 0.5, 1: 0.6}}, "sum 1"),
        ({"mix": {0: -0.5, 1: 1.5}}, "positive"),
        ({"mix": {0: float("nan"), 1: 1.0}}, "positive"),
        ({"mix": "0.3:0.7"}, "shares by digit"),
        ({"mix": 3}, "shares by digit"),
        ({"mix": {0: 0.5, 1: 0.5}, "digit": 3}, "not both"),
        ({"mix": {0: 0.01, 1: 0.99}, "n": 50}, "fewer than 2"),
        ({"mix": {0: 0.5, 1: 0.5}, "n": 10_000}, "were asked for"),
    ],
)
def test_a_senseless_mix_is_refused(arguments, word):
    with pytest.raises(UserError, match=word) as caught:
        data.few_shot("uci-digits", **arguments)
    assert "\n" not in str(caught.value)


def test_a_mix_goes_with_digits_only(tmp_path):
    with pytest.raises(UserError, match="digits go with"):
        data.few_shot(tmp_path, mix={0: 0.5, 1: 0.5}, image_shape=(1, 4, 4))


# --- the other hand ---------------------------------------------------------------------------------------------


def test_uci_digits_by_name():
    target = data.few_shot("uci-digits", digit=9)
    assert (target.name, target.origin) == ("uci-digits:9", "uci-digits")
    assert (len(target.train), len(target.held_out)) == (122, 58)  # of the first 1,200 digits, and of the other 597
    with pytest.raises(UserError, match="122 images of the digit 9"):
        data.few_shot("uci-digits", digit=9, n=123)


@pytest.mark.parametrize("seed", [0, 7])
def test_one_seed_gives_the_same_bytes_and_another_does_not(seed):
    first, again, other = (data.few_shot("mnist", digit=3, n=50, seed=s).train for s in (seed, seed, seed + 1))
    assert torch.equal(first, again)
    assert rows(first) != rows(other)


# --- bad input for digits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, -5, 2.5, "9"])
@pytest.mark.parametrize("source", ["mnist", "uci-digits", "a folder"])
def test_a_useless_number_of_images_is_refused(source, n):
    with pytest.raises(UserError, match="at least 2"):
        data.few_shot(source, digit=9, n=n)


@pytest.mark.parametrize("digit", [None, 10, -1, "9", 1.5])
def test_a_digit_is_needed(digit):
    with pytest.raises(UserError, match="digit from 0 to 9"):
        data.few_shot("mnist", digit=digit)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"source": "mnits"}, "'mnits' is no folder"),
        ({"source": 9}, "unknown source 9"),
        ({"source": "mnits", "digit": 9}, "digits go with"),
        ({"source": "uci-digits", "digit": 9, "image_shape": (3, 64, 64)}, r"draws \(3, 64, 64\)"),
        ({"source": "uci-digits", "digit": 9, "seed": "today"}, "seed must be a whole number"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments, match):
    with pytest.raises(UserError, match=match) as caught:
        data.few_shot(**arguments)
    assert "\n" not in str(caught.value)


def test_unknown_split_is_refused():
    with pytest.raises(UserError, match="'train' or 'test'"):
        data.load_mnist("valid")


# --- folders and lists ------------------------------------------------------------------------------------------


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
    ],
)
def test_an_array_that_is_not_of_pictures_is_refused(tmp_path, array, said):
    np.save(tmp_path / "images.npy", array)
    with pytest.raises(UserError, match=said):
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
    (folder / "5 notes.txt").mkdir()


def spoil_size(folder):
    Image.new("L", (9, 8)).save(folder / "5 notes.txt.png")


def spoil_channels(folder):
    Image.new("RGB", (8, 8)).save(folder / "5 notes.txt.png")


def spoil_depth(folder):
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(folder / "5 notes.txt.png")


@pytest.mark.parametrize(
    "spoil", [spoil_text, spoil_truncated, spoil_subfolder, spoil_size, spoil_channels, spoil_depth]
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


def test_a_folder_needs_the_shape_of_the_generator(folder):
    with pytest.raises(UserError, match="image_shape"):
        data.few_shot(folder)


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
