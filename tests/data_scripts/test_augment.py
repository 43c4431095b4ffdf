"""Differentiable augmentation against a loop over images, pixels and NumPy."""

import numpy as np
import pytest
import torch
from augment import KINDS, augmented, colour, cutout, translation


def images(n: int = 5, side: int = 8) -> torch.Tensor:
    return torch.rand(n, 3, side, side + 2, generator=torch.Generator().manual_seed(0)) * 2 - 1


def stream(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_translation_moves_each_image_and_lets_zeros_in():
    x = images(40)
    moved = translation(x, stream(), 0.25)
    seen = set()
    for before, after in zip(x.numpy(), moved.numpy(), strict=True):
        fits = []
        for down in range(-2, 3):
            for right in range(-2, 3):
                expected = np.zeros_like(before)
                for i in range(8):
                    for j in range(10):
                        if 0 <= i - down < 8 and 0 <= j - right < 10:
                            expected[:, i, j] = before[:, i - down, j - right]
                if np.array_equal(after, expected):
                    fits.append((down, right))
        assert len(fits) == 1
        seen.add(fits[0])
    assert {down for down, _ in seen} == {right for _, right in seen} == {-2, -1, 0, 1, 2}


def test_cutout_takes_out_one_rectangle_of_half_the_side():
    x = images(60)
    cut = cutout(x, stream())
    heights, widths = set(), set()
    for before, after in zip(x, cut, strict=True):
        gone = (after == 0).all(0)
        assert torch.equal(after, before.masked_fill(gone, 0))
        rows, columns = gone.any(1).nonzero().flatten(), gone.any(0).nonzero().flatten()
        assert gone[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        heights.add(len(rows))
        widths.add(len(columns))
    assert max(heights) == 4  # in the middle; less where it hangs over the border
    assert min(heights) == 2
    assert max(widths) == 5


def test_colour_is_brightness_then_saturation_then_contrast():
    x = images(30)
    changed = colour(x, stream(3)).numpy()
    brightness, saturation, contrast = torch.rand(3, 30, 1, 1, 1, generator=stream(3)).numpy()
    for i, image in enumerate(x.numpy()):
        y = image + brightness[i] - 0.5
        grey = y.mean(0)
        y = grey + (y - grey) * 2 * saturation[i]
        y = y.mean() + (y - y.mean()) * (0.5 + contrast[i])
        np.testing.assert_allclose(changed[i], y, atol=2e-6)  # values up to 5, a dozen roundings of 2⁻²⁴


@pytest.mark.parametrize("kind", KINDS)
def test_each_draws_anew_and_by_its_stream_alone(kind):
    x, rng = images(), stream()
    first, second = augmented(x, [kind], rng), augmented(x, [kind], rng)
    assert first.shape == x.shape
    assert not torch.equal(first, second)
    assert torch.equal(first, augmented(x, [kind], stream()))


def test_all_in_order_and_none():
    x = images()
    assert augmented(x, [], stream()) is x
    rng = stream()
    assert torch.equal(augmented(x, ["cutout", "colour"], stream()), colour(cutout(x, rng), rng))


def test_the_gradient_passes_through():
    x = images(2, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda y: augmented(y, list(KINDS), stream()), x)
