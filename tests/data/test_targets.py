"""Data: what few_shot draws, and the one clear line for each bad input."""

import json

import pytest
import torch

from minegan_lite import data
from minegan_lite.errors import UserError


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
