"""A generator seen through a window: the same latents, the same weights, part of the picture."""

import pytest
import torch
from tiny import everything, same, tiny_gan

from minegan_lite import UserError, checkpoints, cropped, mine, teach_critic
from minegan_lite.gan import classes_of, in_class_space
from tests.checkpoints.files import FILES

BOX = (1, 2, 5, 6)


def test_it_is_the_picture_cut_and_nothing_else():
    gan = tiny_gan()
    window = cropped(gan, BOX)
    assert window.generator.image_shape == (1, 4, 4)
    assert torch.equal(window.sample(5, seed=3), gan.sample(5, seed=3)[:, :, 2:6, 1:5])
    assert window.generator.generator is gan.generator
    assert (window.critic, window.name) == (None, "tiny cropped to 1, 2, 5, 6")


def test_classes_stay_classes():
    gan = checkpoints.load(FILES["sngan-chainer"]())
    window = cropped(gan, (0, 4, 8, 12))
    whole, part = gan.sample(6, classes=[0, 2]), window.sample(6, classes=[0, 2])
    assert torch.equal(part, whole[:, :, 4:12, 0:8])
    assert len(classes_of(window)) == len(classes_of(gan))
    assert in_class_space(window).generator.image_shape == (3, 8, 8)


def test_it_is_mined_through_the_window_and_drawn_whole():
    gan = tiny_gan()
    before = everything(gan.generator)
    target = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    options = {"batch": 4, "progress": False, "device": "cpu"}
    window = teach_critic(cropped(gan, BOX), target, steps=2, **options)
    mined = mine(window, target, steps=2, **options)
    z = mined.latents(5, seed=1)[1]
    with torch.no_grad():
        whole = gan.generator.eval()(z)
    assert (mined.sample(5, seed=1) - whole[:, :, 2:6, 1:5]).abs().max() < 1e-6
    gan.generator.train()
    assert same(before, everything(gan.generator))


@pytest.mark.parametrize("box", [(1, 2, 5), (3, 2, 3, 6), (0, 0, 7, 6), (-1, 0, 4, 4), (0, 0, 4.5, 4)])
def test_a_box_that_is_none_is_refused_in_one_line(box):
    with pytest.raises(UserError, match="box") as error:
        cropped(tiny_gan(), box)
    assert "\n" not in str(error.value)
