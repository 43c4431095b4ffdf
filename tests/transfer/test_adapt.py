"""Every method behind one call: what moves and what does not, one seed one result, resumed as if never stopped."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from minegan_lite import zoo
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN
from minegan_lite.mined import Mined, load
from minegan_lite.transfer import METHODS, adapt, frozen
from tests.tiny import PlainGenerator, everything, same, tiny_gan, tiny_target

FAST = {"steps": 12, "batch": 4, "save_every": 2, "log_every": 3, "progress": False, "device": "cpu"}
DRAWN = ["scratch", "transfergan", "freezed", "minegan"]  # methods whose critic and generator both learn


def source(method, seed=0) -> GAN:
    """The tiny GAN with everything that can go wrong; for methods that draw weights anew, without wrapped ones."""
    gan = tiny_gan(seed)
    if method in ("scratch", "vae"):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return replace(gan, generator=PlainGenerator())
    return gan


def run(method, gan=None, target=None, **options) -> Mined:
    return adapt(method, gan or source(method), tiny_target() if target is None else target, **{**FAST, **options})


def outcome(mined) -> list[torch.Tensor]:
    networks = [mined.gan.generator, mined.generators_average[0], mined.miner, mined.critic or nn.Identity()]
    return [*(t for network in networks for t in network.state_dict().values()), mined.sample(5)]


def equal(a, b) -> bool:
    return a.history == b.history and all(torch.equal(x, y) for x, y in zip(outcome(a), outcome(b), strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_what_is_declared_frozen_is_what_has_not_moved(method):
    gan = source(method)
    before = everything(gan.generator), everything(gan.critic)
    mined = run(method, gan)
    kept = {
        f"{part}.{name}"
        for part, adapted in (("generator", mined.gan.generator), ("critic", mined.critic))
        if adapted is not None
        for name, weight in getattr(gan, part).named_parameters()
        if torch.equal(weight, dict(adapted.named_parameters())[name])
    }
    kept.discard("critic.layers.3.bias")  # cancels in E[D(fake)] − E[D(real)]: it moves by rounding, if at all
    assert kept == frozen(method, gan)
    assert same(before[0], everything(gan.generator))
    assert same(before[1], everything(gan.critic))
    assert mined.sample(3).shape == (3, 1, 6, 6)
    assert [entry["step"] for entry in mined.history][-1] == (6 if method == "minegan" else 12)


def test_freezed_keeps_the_critics_first_layers_and_nothing_else():
    gan = zoo.load("mnist-no-9")
    first = {"critic.down1.weight", "critic.down1.bias"}
    second = {"critic.down2.weight", "critic.down2.bias"}
    assert frozen("freezed", gan, layers=0) == set()
    assert frozen("freezed", gan, layers=1) == first
    assert frozen("freezed", gan) == first | second  # half of four
    mined = run("freezed", layers=1)
    linear = tiny_gan().critic.layers[1]
    assert torch.equal(mined.critic.layers[1].weight, linear.weight)
    assert not torch.equal(mined.critic.layers[3].weight, tiny_gan().critic.layers[3].weight)
    assert not torch.equal(run("freezed", layers=0).critic.layers[1].weight, linear.weight)


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_is_one_result(method):
    first = run(method)
    torch.manual_seed(99)
    assert equal(first, run(method))
    assert not torch.equal(first.sample(5), run(method, seed=1).sample(5))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at", [2, 3])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, method, at):
    seen = []

    def dying(images):
        seen.append(images.shape)
        if len(seen) == at:
            raise KeyboardInterrupt
        return images.mean().item()

    def mean(images):
        return images.mean().item()

    whole = run(method, out=tmp_path / "whole", metric=mean)
    with pytest.raises(KeyboardInterrupt):
        run(method, out=tmp_path / "cut", metric=dying)
    assert equal(whole, run(method, out=tmp_path / "cut", metric=mean))
    assert equal(whole, run(method, out=tmp_path / "cut", metric=mean))  # finished: given back


def test_a_run_of_adapt_is_not_loaded_as_one_of_mine(tmp_path):
    run("bsa", out=tmp_path / "run")
    with pytest.raises(UserError, match=r"a run of adapt\(\)"):
        load(tmp_path / "run", tiny_gan())
    with pytest.raises(UserError, match=r"other arguments: truncation was 0\.3 and is now 1"):
        run("bsa", out=tmp_path / "run", truncation=1)


def test_scratch_owes_the_source_nothing_but_its_shape():
    """Two sources of one architecture and one name give the same bytes."""
    assert torch.equal(run("scratch", source("scratch", 0)).sample(4), run("scratch", source("scratch", 1)).sample(4))
    assert not torch.equal(run("transfergan", tiny_gan(0)).sample(4), run("transfergan", tiny_gan(1)).sample(4))


@pytest.mark.parametrize("method", DRAWN)
def test_bright_targets_make_images_brighter(method):
    """An oracle without a critic of our own: all targets are white, so the mean must rise."""
    white = torch.ones(8, 1, 6, 6)
    rates = {"generator_lr": 5e-3, "critic_lr": 5e-3, "steps": 120, "critic_steps": 1, "betas": (0.5, 0.9)}
    mined = run(method, target=white, **rates)
    assert mined.sample(200, ema=False).mean() > source(method).generator.eval()(torch.randn(200, 4)).mean() + 0.3


def test_stages_of_minegan_share_the_steps(tmp_path):
    mined = run("minegan", out=tmp_path / "run", mining=0.25)
    assert load(tmp_path / "run/one", tiny_gan()).history[-1]["step"] == 3
    assert mined.history[-1]["step"] == 9
    with pytest.raises(UserError, match="leaves a stage without any"):
        run("minegan", mining=0.0)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("mined", {}, "unknown method 'mined': one of scratch, transfergan"),
        ("transfergan", {"miner_lr": 1e-3}, "this method has no miner: leave out miner_lr"),
        ("bsa", {"critic_lr": 1e-3}, "this method has neither miner nor critic: leave out critic_lr"),
        ("vae", {"penalty": 1.0}, "this method has neither miner nor critic: leave out penalty"),
        ("vae", {"temperature": 1.0}, "unknown option 'temperature'"),
        ("freezed", {"layers": 2}, "layers must be a whole number from 0 to 1, got 2"),
        ("bsa", {"truncation": 0}, "truncation must be a number between 0 and 10"),
        ("scratch", {"steps": 0}, "steps must be a whole number of at least 1"),
        ("vae", {"target": torch.zeros(4, 1, 7, 7)}, "resize them first"),
        ("bsa", {"target": torch.full((4, 1, 6, 6), torch.nan)}, "NaN"),
        ("scratch", {"target": torch.zeros(1, 1, 6, 6)}, "at least 2 images"),
    ],
)
def test_wrong_input_is_one_line(method, options, message):
    with pytest.raises(UserError, match=message) as error:
        run(method, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("minegan", {"objective": "mean"}),
        ("minegan-nofinetune", {"objective": "mean"}),
        ("minegan-nofinetune", {"generator_lr": 1e-3}),
    ],
)
def test_options_without_a_use_are_named(tmp_path, method, options):
    with pytest.raises(UserError, match=f"leave out {', '.join(sorted(options))}"):
        run(method, out=tmp_path / "run", **options)
    assert list(tmp_path.iterdir()) == []


def test_the_record_says_what_was_replaced_of_the_papers_recipe():
    bare = {name: value for name, value in FAST.items() if name != "batch"}
    for method, paper in (("transfergan", 16), ("vae", 100)):

        def preset(method=method, **options):
            return adapt(method, source(method), tiny_target(), **{**bare, "steps": 1, **options}).record["preset"]

        assert preset() == preset(batch=paper) == "paper"
        assert preset(generator_lr=0.1, batch=3) == "paper but batch, generator_lr"


@pytest.mark.parametrize("method", ["scratch", "transfergan", "freezed", "bsa"])
def test_without_a_critic_there_is_one_line(method):
    with pytest.raises(UserError, match="no critic"):
        run(method, replace(source(method), critic=None))


@pytest.mark.parametrize("method", ["scratch", "vae"])
def test_weights_that_cannot_be_drawn_anew_are_said_to_be_so(method):
    with pytest.raises(UserError, match="of the TinyGenerator holds weights that cannot be drawn anew"):
        run(method, tiny_gan())


def test_a_vae_needs_no_critic_and_a_conditional_source_is_refused():
    assert run("vae", replace(source("vae"), critic=None)).sample(2).shape == (2, 1, 6, 6)
    with pytest.raises(UserError, match=r"mnist-cond-no-9 is conditional: .* classes_of"):
        adapt("vae", zoo.load("mnist-cond-no-9"), torch.zeros(4, 1, 28, 28))
