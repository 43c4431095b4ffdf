"""One's own GAN: what is wrong with it is said in one line before anything is written, and it is left as it was."""

import itertools
import warnings
from dataclasses import replace

import pytest
import torch
from tiny import PlainGenerator, TinyCritic, TinyGenerator, everything, same, tiny_gan, tiny_target
from torch import nn

from minegan_lite import Unmined
from minegan_lite.config import Mining, resolve
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN, StandardNormal
from minegan_lite.mined import load
from minegan_lite.nn import clone, still
from minegan_lite.probe import sources_of
from minegan_lite.training import State, finetune, mine
from minegan_lite.transfer import METHODS, adapt

FAST = {"steps": 2, "batch": 4, "progress": False, "device": "cpu"}


class Own(nn.Module):
    """z (n, 4) → tanh of a linear map as (n, 1, 6, 6); what is passed through `change` is what it returns."""

    latent_dim, embedding_dim, image_shape = 4, None, (1, 6, 6)

    def __init__(self, change=lambda x: x):
        super().__init__()
        self.map, self.change = nn.Linear(4, 36), change

    def forward(self, z):
        return self.change(torch.tanh(self.map(z)).view(-1, 1, 6, 6))


class OfMaps(Own):
    """As many published generators take it: z as (n, 4, 1, 1)."""

    def __init__(self):
        super().__init__()
        self.map = nn.ConvTranspose2d(4, 1, 6)

    def forward(self, z):
        return torch.tanh(self.map(z))


class Labelled(TinyCritic):
    def forward(self, x, labels):
        return super().forward(x)


class Constant(nn.Module):
    def forward(self, x):
        return torch.zeros(len(x), 1)


def own(change=lambda x: x, critic=None, prior=None, **attributes) -> GAN:
    generator = Own(change)
    for name, value in attributes.items():
        setattr(generator, name, value)
    return GAN(generator, critic or TinyCritic(), prior or StandardNormal(4), "own")


def lacking(name: str) -> GAN:
    bare = nn.Sequential(nn.Linear(4, 36), nn.Unflatten(1, (1, 6, 6)))
    bare.latent_dim, bare.embedding_dim, bare.image_shape = 4, None, (1, 6, 6)
    delattr(bare, name)
    return GAN(bare, TinyCritic(), StandardNormal(4), "own")


def changed(gan: GAN, part: str, change) -> GAN:
    change(getattr(gan, part))
    return gan


def spoil(module: nn.Module) -> None:
    with torch.no_grad():
        next(module.parameters()).view(-1)[0] = torch.nan


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Own(), r"a source must be a GAN, got a Own: give GAN.wrap\("),
        (None, "a source must be a GAN, got a NoneType"),
        ([own(), None], "a source must be a GAN, got a NoneType"),
        (replace(own(), generator=torch.tanh), "generator of own must be an nn.Module, got a builtin"),
        (replace(own(), name=None), "name must be a string"),
        (lacking("latent_dim"), "generator of own has no latent_dim: set generator.latent_dim, the length of z"),
        (lacking("image_shape"), "has no image_shape: set generator.image_shape, what it draws"),
        (lacking("embedding_dim"), "has no embedding_dim: set generator.embedding_dim, None for one without"),
        (own(embedding_dim=3), "has no classes: set generator.classes"),
        (own(latent_dim=4.0), "latent_dim of own must be a whole number"),
        (own(image_shape=(6, 6)), "image_shape of own must be channels, height and width"),
        (replace(own(), generator=OfMaps()), r"it takes z as \(n, 4, 1, 1\): let its forward begin with z = z\["),
        (own(latent_dim=5, prior=StandardNormal(5)), r"the generator of own draws nothing from z \(2, 5\)"),
        (own(lambda x: (x, x)), "must return images alone, returns a tuple"),
        (own(lambda x: {"image": x}), "must return images alone, returns a dict"),
        (own(lambda x: (127.5 * x + 127.5).to(torch.uint8)), r"draws \(2, 1, 6, 6\) of torch.uint8"),
        (own(lambda x: x.half()), r"draws \(2, 1, 6, 6\) of torch.float16"),
        (own(lambda x: x.detach()), "without a gradient to z: take detach"),
        (own(lambda x: torch.tensor(x.tolist())), "without a gradient to z"),
        (own(lambda x: x / 0), "draws images that are NaN or infinite"),
        (own(lambda x: x + torch.rand_like(x)), "draws random numbers of its own: two calls with one z differ"),
        (changed(own(), "generator", spoil), "generator of own has weights that are NaN or infinite: load it again"),
        (changed(own(), "critic", spoil), "critic of own has weights that are NaN or infinite: load it again"),
        (changed(own(), "generator", lambda g: g.half()), "weights of torch.float16, float32 is needed"),
        (changed(own(), "critic", lambda g: g.double()), "weights of torch.float64, float32 is needed"),
        (changed(own(), "generator", lambda g: g.to("meta")), "weights on the meta device, which holds none"),
        (changed(own(), "critic", lambda g: g.to("meta")), "weights on the meta device, which holds none"),
        (replace(own(), prior=None), "prior of own must be a function of"),
        (own(prior=lambda n: torch.randn(n, 4)), r"prior of own cannot be called as prior\(n, rng\)"),
        (own(prior=lambda n, rng: torch.randn(n, 4)), "prior of own draws other latents for the same rng"),
        (own(prior=StandardNormal(3)), r"prior of own must draw float32 latents \(n, 4\), draws \(2, 3\)"),
        (own(prior=lambda n, rng: torch.randn(n, 4, generator=rng).double()), "draws .* of torch.float64"),
        (own(prior=lambda n, rng: [[0.0] * 4] * n), "must draw float32 latents .*, draws a list"),
        (own(prior=lambda n, rng: torch.full((n, 4), torch.nan)), "latents that are NaN"),
        (own(critic=Constant()), "critic of own has no parameters to train"),
        (own(critic=torch.sum), "critic of own must be an nn.Module"),
        (own(critic=Labelled()), r"critic of own cannot judge images \(1, 6, 6\): .*labels"),
        (own(critic=nn.Sequential(nn.Flatten(), nn.Linear(36, 1), nn.Flatten(0))), r"scores \(n, 1\), gives \(2,\)"),
        (own(critic=nn.Sequential(TinyCritic(), nn.Threshold(torch.inf, torch.inf))), "scores that are NaN"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_and_nothing_is_written(tmp_path, source, message):
    for call in (mine, lambda *given, **options: adapt("transfergan", *given, **options)):
        if isinstance(source, list) and call is not mine:
            continue
        with pytest.raises(UserError, match=message) as caught:
            call(source, tiny_target(), out=tmp_path / "run", **FAST)
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_an_image_shape_that_lies_is_told(tmp_path):
    with pytest.raises(UserError, match=r"draws \(2, 1, 6, 6\) for n = 2, image_shape says \(1, 6, 5\)"):
        mine(own(image_shape=(1, 6, 5)), torch.zeros(4, 1, 6, 5) - 0.5, out=tmp_path / "run", **FAST)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", METHODS)
def test_every_method_tries_the_source_first(tmp_path, method):
    for source, message in (
        (own(lambda x: x.detach()), "without a gradient to z"),
        (own(prior=StandardNormal(3)), "prior of own must draw"),
        (Own(), "a source must be a GAN"),
    ):
        with pytest.raises(UserError, match=message):
            adapt(method, source, tiny_target(), out=tmp_path / "run", **FAST)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [[1, 6, 6], torch.Size([1, 6, 6])])
def test_an_image_shape_may_be_any_sequence(shape):
    mined = mine(own(image_shape=shape), tiny_target(), **FAST)
    assert mined.sample(3).shape == (3, 1, 6, 6)
    assert mined.image_shape == (1, 6, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: (x + 1) / 2, r"nothing below 0, up to .*let its forward return 2 \* images - 1"),
        (lambda x: (x + 1) * 127.5, r"nothing below 0, up to .*let its forward return images / 127.5 - 1"),
    ],
)
def test_images_in_another_range_are_warned_of(change, message):
    with pytest.warns(UserWarning, match=message):
        mine(own(change), tiny_target(), **FAST)


def test_an_ordinary_source_is_warned_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finetune(mine(tiny_gan(), tiny_target(), **FAST), tiny_target(), **FAST)


class Dropping(Own):
    """Its dropout draws numbers in training mode only."""

    def forward(self, z):
        return nn.functional.dropout(super().forward(z), 0.5, self.training)


def test_dropout_is_refused_where_it_would_draw(tmp_path):
    gan = replace(own(), generator=Dropping())
    mined = mine(gan, tiny_target(), **FAST)  # frozen, it draws nothing
    with pytest.raises(UserError, match="random numbers of its own in training mode"):
        finetune(mined, tiny_target(), out=tmp_path / "run", **FAST)
    with pytest.raises(UserError, match="random numbers of its own in training mode"):
        adapt("transfergan", gan, tiny_target(), out=tmp_path / "run", **FAST)
    assert list(tmp_path.iterdir()) == []


def test_a_critic_with_dropout_is_warned_of():
    critic = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 1))
    with pytest.warns(UserWarning, match="critic of own draws random numbers of its own, as dropout does"):
        mine(own(critic=critic), tiny_target(), **FAST)


def test_trying_a_source_leaves_every_byte_flag_and_mode_and_the_global_generator(tmp_path):
    """In training mode, too, with running statistics and spectral norms that a pass would move."""
    gan = tiny_gan()
    mined = mine(gan, tiny_target(), **FAST)
    before, state = [everything(part) for part in (gan.generator, gan.critic, mined.critic)], torch.get_rng_state()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="occupied"):
        finetune(mined, tiny_target(), out=tmp_path, **FAST)
    assert all(map(same, before, [everything(part) for part in (gan.generator, gan.critic, mined.critic)]))
    assert torch.equal(torch.get_rng_state(), state)


def test_sources_that_share_a_generator_are_tried_once():
    calls = []

    class Counting(Own):
        classes, embedding_dim = range(7), 7

        def embed(self, labels):
            return nn.functional.one_hot(labels, 7).float()

        def forward(self, z, embedding):
            calls.append(len(z))
            return super().forward(z) * embedding.sum(1)[:, None, None, None]

    gan = GAN(Counting(), TinyCritic(), StandardNormal(4), "counting")
    with pytest.raises(UserError, match="critic_lr"):
        mine(gan, tiny_target(), critic_lr=-1, **FAST)
    assert calls == []
    mine(gan, tiny_target(), **{**FAST, "steps": 1, "critic_steps": 1, "log_every": 1})
    tried = list(itertools.takewhile(lambda n: n == 2, calls))  # two at a time; a step draws four of each class
    assert 0 < len(tried) <= 3


# --- wrappers -------------------------------------------------------------------------------------------------------


def wrapped(module: nn.Module, how: str) -> nn.Module:
    return {"compiled": lambda m: torch.compile(m, backend="eager"), "parallel": nn.DataParallel}[how](module)


@pytest.mark.parametrize("how", ["compiled", "parallel"])
def test_wrapped_networks_are_mined_and_their_runs_load_with_the_plain_ones(tmp_path, how):
    plain = tiny_gan()
    outer = replace(plain, generator=wrapped(clone(plain.generator), how), critic=wrapped(clone(plain.critic), how))
    if how == "parallel":
        outer.generator.module.train()
    mined = mine(outer, tiny_target(), out=tmp_path / "one", **FAST)
    tuned = finetune(mined, tiny_target(), out=tmp_path / "two", **FAST)
    for run, result in (("one", mined), ("two", tuned)):
        torch.testing.assert_close(load(tmp_path / run, plain).sample(4), result.sample(4))
    moved = adapt("transfergan", outer, tiny_target(), **FAST)
    assert [*moved.critic.state_dict()] == [*plain.critic.state_dict()]


# --- where the generator is -------------------------------------------------------------------------------------------


def test_a_generator_is_mined_where_it_is_and_copied_to_where_it_is_not():
    """The meta device stands for another one: there is none on every machine."""
    shared = TinyGenerator()
    sources = [GAN(shared, TinyCritic(), StandardNormal(4), "a"), GAN(shared, None, StandardNormal(4), "b")]
    before = everything(shared)
    config = resolve(Mining, "default", {})

    def placed(device):
        return State(config, sources, TinyCritic(), torch.device(device), purpose="mine").sources

    here = placed("cpu")
    assert [source.generator for source in here] == [shared, shared]
    there = placed("meta")
    assert all(weight.device.type == "meta" for weight in there[0].generator.parameters())
    assert there[0].generator is there[1].generator
    assert same(before, everything(shared))
    assert all(weight.device.type == "cpu" for weight in shared.parameters())


def test_no_numbers_are_no_device(tmp_path):
    gan = tiny_gan()
    before = everything(gan.generator)
    for device in ("meta", "tpu", 1.5):
        with pytest.raises(UserError, match="cannot be used"):
            mine(gan, tiny_target(), out=tmp_path / "run", **{**FAST, "device": device})
    assert same(before, everything(gan.generator))
    assert list(tmp_path.iterdir()) == []


def test_a_renamed_file_is_the_same_source():
    """A checkpoint's name is its file's: to rename it must change no weight."""
    a, b = tiny_gan(0), tiny_gan(1)
    runs = [
        mine([replace(a, name=name), b], tiny_target(), **FAST).miners.state_dict().values()
        for name in ("a", "renamed")
    ]
    assert all(torch.equal(x, y) for x, y in zip(*runs, strict=True))


@pytest.mark.parametrize("method", ["bsa", "vae"])
def test_a_renamed_source_is_adapted_alike(method):
    gan = replace(tiny_gan(), generator=PlainGenerator())
    one, other = (adapt(method, replace(gan, name=name), tiny_target(), **FAST).sample(3) for name in ("a", "renamed"))
    assert torch.equal(one, other)


def test_a_single_source_is_mined_alike_whatever_it_is_called():
    one, other = (mine(replace(tiny_gan(), name=name), tiny_target(), **FAST).sample(3) for name in ("a", "renamed"))
    assert torch.equal(one, other)


def test_passes_of_a_network_held_still_leave_no_trace():
    generator, z = tiny_gan().generator, torch.randn(8, 4)
    before = everything(generator)
    with still(generator), torch.no_grad():
        first = generator(z)
    assert same(before, everything(generator))
    with torch.no_grad():
        assert torch.equal(first, generator(z))
    assert not same(before, everything(generator))


def test_unmined_takes_what_mine_takes():
    assert Unmined(replace(tiny_gan(), generator=nn.DataParallel(tiny_gan().generator))).sample(2).shape == (2, 1, 6, 6)
    with pytest.raises(UserError, match="a source must be a GAN"):
        sources_of(Own())
