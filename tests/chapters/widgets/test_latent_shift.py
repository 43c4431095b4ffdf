"""The latent-shift widget: every control over its whole range, each result against a computation of its own."""

import base64
import io
import re
from dataclasses import replace

import pytest
import torch
from front_end import check_contract, from_browser, pixels, rest
from IPython.utils.capture import capture_output
from PIL import Image
from tiny import everything, same, tiny_gan, tiny_target, unmined_digits

from minegan_lite import zoo
from minegan_lite.chapters.latents import main_directions, mean_jacobian
from minegan_lite.chapters.widgets import LatentShift, latent_shift, live
from minegan_lite.errors import UserError
from minegan_lite.training import finetune, mine

QUICK = {"batch": 4, "progress": False, "device": "cpu"}


@pytest.fixture(scope="module")
def mined():
    return mine(tiny_gan(), tiny_target(), steps=5, **QUICK)


@pytest.fixture(scope="module")
def digits():
    return unmined_digits()


@pytest.fixture
def widget(mined):
    return LatentShift(mined, k=3, seed=7)


def expected(mined, offsets, seed, directions_seed=7):
    """u, M(u), G(u), G(M(u)) in single steps, with networks called by hand."""
    u, _ = mined.latents(latent_shift.DRAWS, seed=directions_seed)
    directions, _ = main_directions(mean_jacobian(mined.miners_average[0], u), len(offsets))
    u = torch.randn(1, 4, generator=torch.Generator().manual_seed(seed))
    for offset, direction in zip(offsets, directions, strict=True):
        u = u + offset * direction
    generator = mined.gan.generator.eval()
    with torch.no_grad():
        z = mined.miners_average[0](u)
        images = generator(u)[0, 0], generator(z)[0, 0]
    generator.train()
    return u[0], z[0], images


def check(widget, mined, offsets, seed):
    """What the browser is given is what one gets by hand."""
    u, z, images = expected(mined, offsets, seed)
    shown = widget.picture.shown
    for url, image in zip(shown["images"], images, strict=True):
        assert (pixels(url) - (image + 1) * 127.5).abs().max() <= 0.51
    numbers = [float(number) for number in re.findall(r"= (\d+\.\d+)", shown["lines"][0])]
    assert numbers == pytest.approx([u.norm().item(), z.norm().item(), (z - u).norm().item()], abs=0.006)
    _, z0, _ = expected(mined, [0.0] * len(offsets), seed)
    moved, stretched = (float(number) for number in re.findall(r"by (\d+\.\d+)", shown["lines"][1]))
    assert moved == pytest.approx(torch.tensor(offsets).norm().item(), abs=0.006)
    assert stretched == pytest.approx((z - z0).norm().item(), abs=0.006)
    # the plane: lengths in it are no longer than in space, and the directions are orthonormal
    centre, plane = widget._plane
    torch.testing.assert_close(plane @ plane.T, torch.eye(2))
    places = torch.cat([plane @ (u - centre), plane @ (z - centre)])
    assert shown["current"] == pytest.approx(places.tolist(), abs=0.002)
    left, bottom, right, top = shown["bounds"]
    for x, y, x2, y2 in [shown["current"], *widget.picture.arrows]:
        assert left - 0.002 <= min(x, x2) <= max(x, x2) <= right + 0.002
        assert bottom - 0.002 <= min(y, y2) <= max(y, y2) <= top + 0.002


def test_at_first_it_shows_the_draw_itself(widget, mined):
    check(widget, mined, [0.0, 0.0, 0.0], 7)
    assert "stretched" not in widget.picture.shown["lines"][1]
    assert widget.picture.shown["captions"] == ["G(u)", "G(M(u))"]
    u, z = mined.latents(latent_shift.ARROWS, seed=7)
    lengths = (z - u).norm(dim=1).tolist()
    arrows = torch.tensor(widget.picture.arrows)
    assert arrows.shape == (latent_shift.ARROWS, 4)
    assert all(
        a <= b + 0.01 for a, b in zip((arrows[:, 2:] - arrows[:, :2]).norm(dim=1).tolist(), lengths, strict=True)
    )


@pytest.mark.parametrize("i", [0, 1, 2])
def test_each_slider_over_its_whole_range(widget, mined, i):
    slider, seen, arrows = widget.sliders[i], [], widget.picture.arrows
    steps = round((slider.max - slider.min) / slider.step)
    assert (slider.min, slider.max, slider.value, steps) == (-3, 3, 0, 60)
    for step in range(steps + 1):
        value = slider.min + step * slider.step
        from_browser(slider, value=value)
        assert slider.value == pytest.approx(value)
        check(widget, mined, [slider.value if j == i else 0.0 for j in range(3)], 7)
        seen.append(widget.picture.shown)
    assert len({str(shown["current"]) for shown in seen}) == steps + 1
    assert len({shown["images"][0] for shown in seen}) > steps / 2
    assert widget.picture.arrows == arrows
    from_browser(slider, value=9.0)  # past the end
    assert slider.value == slider.max
    assert widget.picture.shown == seen[-1]


def test_sliders_add_up_and_the_plane_widens_where_they_lead_out_of_it(widget, mined):
    first, wider = widget.picture.shown["bounds"], 0
    for offsets in ([1.5, -0.7, 3.0], [3.0, 3.0, 3.0], [-3.0, -3.0, -3.0], [3.0, -3.0, -3.0]):
        for slider, offset in zip(widget.sliders, offsets, strict=True):
            from_browser(slider, value=offset)
        check(widget, mined, offsets, 7)
        wider += widget.picture.shown["bounds"] != first
    assert wider
    widget.reset.click()
    assert widget.picture.shown["bounds"] == first


def test_draws_over_their_whole_range_and_reset(widget, mined):
    first = widget.picture.shown
    from_browser(widget.sliders[1], value=2.0)
    assert (widget.draw_seed.min, widget.draw_seed.max, widget.draw_seed.value) == (0, 9999, 7)
    for seed in (0, 1, 8, 4999, 9998, 9999):
        from_browser(widget.draw_seed, value=seed)
        check(widget, mined, [0.0, 2.0, 0.0], seed)
    for slider in widget.sliders:
        from_browser(slider, value=-1.0)
    widget.reset.click()
    assert [slider.value for slider in widget.sliders] == [0, 0, 0]
    check(widget, mined, [0.0, 0.0, 0.0], 9999)
    from_browser(widget.draw_seed, value=10**6)  # past the end
    assert widget.draw_seed.value == 9999
    from_browser(widget.draw_seed, value=7)
    assert widget.picture.shown == first


def test_the_sliders_are_named_by_what_the_miner_does_along_them(widget, mined):
    u, _ = mined.latents(latent_shift.DRAWS, seed=7)
    values = torch.linalg.svdvals(mean_jacobian(mined.miners_average[0], u))[:3]
    named = [re.fullmatch(r"direction (\d) \(×(\d+\.\d\d)\)", slider.description).groups() for slider in widget.sliders]
    assert [int(i) for i, _ in named] == [1, 2, 3]
    # svdvals and svd are two computations: what is told has two digits, and either may round the other way
    assert [float(value) for _, value in named] == pytest.approx(values.tolist(), abs=0.0051)


@pytest.mark.parametrize("ema", [None, False])
def test_it_shows_what_sample_draws(mined, ema):
    widget = LatentShift(mined, seed=3, ema=ema)
    torch.testing.assert_close(widget.images[1:], mined.sample(1, seed=3, ema=ema))
    assert not torch.equal(widget.images[1:], mined.sample(1, seed=3, ema=ema is False))


def test_one_seed_one_widget_and_another_seed_another(mined):
    one, again, other = (LatentShift(mined, seed=seed) for seed in (5, 5, 6))
    for name in ("arrows", "shown"):
        assert getattr(one.picture, name) == getattr(again.picture, name)
        assert getattr(one.picture, name) != getattr(other.picture, name)
    assert torch.equal(one.directions, again.directions)


def test_nothing_of_the_mined_gan_is_changed():
    mined = mine(tiny_gan(), tiny_target(), steps=2, **QUICK)
    networks = (mined.gan.generator, mined.miner, mined.miners_average[0])
    before = [everything(network) for network in networks]
    widget = LatentShift(mined, k=2)
    from_browser(widget.sliders[0], value=1.0)
    widget.figure()
    assert all(same(b, everything(network)) for b, network in zip(before, networks, strict=True))


def test_after_stage_two_it_draws_with_the_finetuned_generator(mined):
    tuned = finetune(mined, tiny_target(), steps=3, generator_lr=0.1, **QUICK)
    widget = LatentShift(tuned, seed=2)
    torch.testing.assert_close(widget.images[1:], tuned.sample(1, seed=2))
    generator = tuned.generators_average[0].eval()
    with torch.no_grad():
        ours = generator(torch.randn(1, 4, generator=torch.Generator().manual_seed(2)))
    torch.testing.assert_close(widget.images[:1], ours)


def test_digits_are_read_and_sliders_change_them(digits):
    widget = LatentShift(digits, seed=1)
    assert len(widget.sliders) == 4
    seen = []
    classifier = zoo.load_classifier()
    for slider in widget.sliders:
        for value in (slider.min, slider.max):
            from_browser(slider, value=value)
            with torch.no_grad():
                probabilities = classifier(widget.images).softmax(1)
            verdicts = [f"{p.argmax()} ({p.max():.0%})" for p in probabilities]
            assert widget.picture.shown["captions"] == [f"G(u): {verdicts[0]}", f"G(M(u)): {verdicts[1]}"]
            seen.append(tuple(widget.picture.shown["images"]))
    assert len(set(seen)) == len(seen)


def test_another_read_out_takes_its_place(digits):
    asked = []

    def brightness(images):
        asked.append(images.shape)
        return [f"{image.mean():.2f}" for image in images]

    widget = LatentShift(digits, read_out=brightness)
    from_browser(widget.sliders[0], value=1.0)
    assert asked == [(2, 1, 28, 28)] * 2
    means = [f"{image.mean():.2f}" for image in widget.images]
    assert widget.picture.shown["captions"] == [f"G(u): {means[0]}", f"G(M(u)): {means[1]}"]


# What is wrong is said in one line.


def test_a_source_of_the_zoo_that_draws_no_digits_is_not_read_as_digits(mined):
    named = replace(mined, sources=[replace(mined.gan, name="men-32")])
    assert LatentShift(named, k=3, seed=7)._read_out is None


@pytest.mark.parametrize("options", [{"k": 0}, {"k": 5}, {"seed": -1}, {"seed": 10000}])
def test_numbers_out_of_range_are_refused(mined, options):
    with pytest.raises(UserError, match=r"must lie between|got") as error:
        LatentShift(mined, **options)
    assert "\n" not in str(error.value)


def test_several_sources_are_refused():
    both = mine([tiny_gan(0), tiny_gan(1)], tiny_target(), steps=1, **QUICK)
    with pytest.raises(UserError, match=r"^LatentShift moves the u of one miner, 2 sources were mined[^\n]+$"):
        LatentShift(both)


def test_without_a_latent_for_the_generator_there_is_nothing_to_compare():
    mined = mine(tiny_gan(), tiny_target(), steps=1, input_dim=2, **QUICK)
    with pytest.raises(UserError, match="these are 2, 4 and 4"):
        LatentShift(mined)


def test_a_miner_that_is_not_finite_is_refused():
    mined = mine(tiny_gan(), tiny_target(), steps=1, **QUICK)
    mined.miners_average[0].layers[-1].bias.data[0] = torch.inf
    with pytest.raises(UserError, match="latents are not finite"):
        LatentShift(mined)


def test_a_generator_that_is_not_finite_is_refused():
    mined = mine(tiny_gan(), tiny_target(), steps=1, **QUICK)
    mined.gan.generator.norm.running_var[0] = torch.nan
    with pytest.raises(UserError, match="image is not finite"):
        LatentShift(mined)


@pytest.mark.parametrize("words", ["ab", ["one"], [1, 2], None])
def test_a_read_out_must_give_two_strings(mined, words):
    with pytest.raises(UserError, match="two strings"):
        LatentShift(mined, read_out=lambda images: words)


# What leaves Python: the display, and the contract with the browser.


def test_it_is_displayed_with_its_picture_which_is_renewed(widget, shell):
    with capture_output() as captured:
        assert shell.display_formatter.format(widget) == ({}, {})  # it has displayed itself
    moving, still = captured.outputs
    assert moving.data[live.WIDGET_VIEW]["model_id"] == widget.model_id
    assert "image/png" not in moving.data
    assert set(still.data) == {"image/png", "text/plain"}
    assert all(line in still.data["text/plain"] for line in widget.picture.shown["lines"])
    with Image.open(io.BytesIO(base64.b64decode(still.data["image/png"]))) as picture:
        assert picture.format == "PNG"
        assert picture.width > 400
        assert len(picture.convert("L").getcolors()) > 20

    from_browser(widget.sliders[0], value=3.0)
    with capture_output() as captured:  # what the browser says when a drag has come to rest
        rest(widget.picture)
    (renewed,) = captured.outputs
    assert renewed.update
    assert renewed.data["text/plain"] == repr(widget) != still.data["text/plain"]
    assert renewed.data["image/png"] != still.data["image/png"]


def test_the_static_picture_holds_what_the_live_one_shows(widget):
    from_browser(widget.sliders[0], value=1.3)
    figure = widget.figure()
    *places, plane = figure.axes
    for axes, url in zip(places, widget.picture.shown["images"], strict=True):
        assert torch.equal(torch.tensor(axes.images[0].get_array()), pixels(url))
    assert [axes.get_title() for axes in places] == widget.picture.shown["captions"]
    drawn = [[*arrow.xyann, *arrow.xy] for arrow in plane.texts]
    assert drawn == [*widget.picture.arrows, widget.picture.shown["current"]]
    text = figure.get_supxlabel()
    assert all(line in text for line in widget.picture.shown["lines"])
    assert f"{widget.sliders[0].description}: 1.3" in text


def test_the_browser_reads_what_python_writes(widget):
    check_contract(widget, [widget.picture], "latent_shift", {"arrows", "shown"})
