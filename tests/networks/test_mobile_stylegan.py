"""MobileStyleGAN's own parts, and its cuts, at tiny sizes."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from minegan_lite import GAN, StandardNormal, UserError, zoo
from minegan_lite.networks.mobile_stylegan import HEADS, Cut, Generator, cut, inverse_haar
from minegan_lite.networks.style_layers import in_style_space
from tests.close import close, terms

CHANNELS, LATENT, STYLE = (8, 12, 8, 4), 7, 6


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def a_generator() -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Generator(CHANNELS, latent_dim=LATENT, style_dim=STYLE, depth=2).eval()
    network.measure_w_mean(200)
    return network


def a_cut(generator: Generator, side: int = 16) -> Cut:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        head = nn.Conv2d(CHANNELS[{8: 1, 16: 2}[side]], 3, 1)
    return Cut(generator, side, head).eval()


def test_the_inverse_of_a_haar_transform():
    """Of a transform that is written out: averages and differences of each square's four pixels, times two."""
    x = normal(2, 3, 8, 8)
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    details = torch.stack([a + b - c - d, a - b + c - d, a - b - c + d], dim=2)  # of rows, of columns, of both
    bands = torch.cat([a + b + c + d, details.flatten(1, 2)], dim=1) / 2
    close(inverse_haar(bands), x, 16)


def test_the_published_one_has_its_sizes():
    with torch.device("meta"):
        network = Generator()
    assert network.image_shape == (3, 1024, 1024)
    assert network.layers == 16
    assert network.noise_sizes == (4, 8, 8, 16, 16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512)
    assert sum(weight.numel() for weight in network.parameters()) == 9_407_628


def test_it_offers_what_a_generator_offers():
    generator = a_generator()
    assert (generator.latent_dim, generator.image_shape, generator.embedding_dim) == (LATENT, (3, 64, 64), None)
    z = normal(5, LATENT)
    images = generator(z)
    assert images.shape == (5, 3, 64, 64)
    assert torch.equal(images, generator(z))  # no noise is drawn
    assert 0.01 < images.std() < 100  # fresh weights keep the size of what they act on
    close(generator(3 * z), images, *terms(generator))  # the latent's length does not matter


def test_channels_come_in_fours():
    with pytest.raises(UserError, match="takes its channels in fours, and a block has 6"):
        Generator((8, 6, 4), 5, 5, 1)
    assert Generator((8, 4, 3), 5, 5, 1).image_shape == (3, 32, 32)  # no transform takes the last


@pytest.mark.parametrize("which", ["whole", "cut"])
def test_style_spaces_and_truncation(which):
    generator = a_generator() if which == "whole" else a_cut(a_generator())
    assert generator.layers == (8 if which == "whole" else 5)
    z = normal(3, LATENT)
    w = generator.mapping(z)
    rows = w[:, None].repeat(1, generator.layers, 1)
    assert torch.equal(generator(z), generator.synthesis(w))  # one computation, done twice
    close(generator.synthesis(rows), generator.synthesis(w), *terms(generator))
    for i in range(generator.layers):  # each row is heard
        changed = rows.clone()
        changed[:, i] += 1
        assert not torch.allclose(generator.synthesis(changed), generator.synthesis(rows), atol=1e-4), i
    for wrong in (w[:, 1:], rows[:, 1:]):
        with pytest.raises(UserError, match=f"{STYLE}"):
            generator.synthesis(wrong)
    mean = generator.w_mean
    assert torch.equal(generator(z, truncation=1.0), generator(z))
    close(generator(z, truncation=0.0), generator.synthesis(mean[None]).expand(3, -1, -1, -1), *terms(generator))
    close(generator(z, truncation=0.5), generator.synthesis((w + mean) / 2), *terms(generator))
    gan = GAN(generator, None, StandardNormal(LATENT), "tiny", "stylegan")
    for per_layer in (False, True):
        source = in_style_space(gan, per_layer)
        draws = source.prior(4, torch.Generator().manual_seed(1))
        close(source.generator(draws), generator(normal(4, LATENT, seed=1)), *terms(generator))


@pytest.mark.parametrize("side", [8, 16])
def test_a_cut_draws_from_the_features_that_the_whole_generator_has_there(side):
    """Seen from outside: a hook tells what the whole generator's next block is given."""
    generator, z, seen = a_generator(), normal(3, LATENT), []
    short = a_cut(generator, side)
    assert short.layers == {8: 3, 16: 5}[side]
    handle = generator.ups[len(short.ups)].register_forward_hook(lambda module, given, result: seen.append(given[0]))
    generator(z)
    handle.remove()
    (features,) = seen
    expected = F.conv2d(features, short.head.weight, short.head.bias)
    assert short.image_shape == tuple(expected.shape[1:]) == (3, side, side)
    close(short(z), expected, *terms(generator))


def test_a_cut_shares_the_blocks_and_leaves_the_generator_as_it_is():
    generator = a_generator()
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    short = a_cut(generator)
    own, theirs = dict(short.named_parameters()), {id(weight) for weight in generator.parameters()}
    assert sorted(name for name, weight in own.items() if id(weight) not in theirs) == ["head.bias", "head.weight"]
    assert len(own) < len(list(generator.parameters()))
    assert torch.equal(short.w_mean, generator.w_mean)
    assert short.w_mean.abs().max() > 0
    short(normal(2, LATENT)).sum().backward()
    assert short.head.weight.grad.abs().max() > 0
    after = generator.state_dict()
    assert sorted(after) == sorted(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_there_is_no_cut_at_another_side():
    for side in (2, 12, 32, 64):
        with pytest.raises(UserError, match=f"is cut at 4, 8, 16 pixels, not at {side}"):
            Cut(a_generator(), side, nn.Identity())


def test_a_cut_takes_noise_as_the_whole_one_does():
    short, z = a_cut(a_generator()), normal(2, LATENT)
    maps = [normal(2, 1, r, r, seed=r) for r in short.noise_sizes]
    assert short.noise_sizes == (4, 8, 8, 16, 16)
    assert not torch.allclose(short(z, noise=maps), short(z), atol=1e-3)
    assert torch.equal(short(z, noise=short.noise_maps(None)), short(z))


# --- a head from a file -----------------------------------------------------------------------------------------------


def a_gan():
    return GAN(a_generator(), nn.Linear(1, 1), StandardNormal(LATENT), "tiny", "stylegan", {"file": "a"})


def test_a_gan_is_cut_with_a_head_in_half_precision(tmp_path):
    gan, z, head = a_gan(), normal(2, LATENT), {"weight": normal(3, 8, 1, 1).half(), "bias": normal(3).half()}
    save_file(head, tmp_path / "head.safetensors")
    small = cut(gan, 16, tmp_path / "head.safetensors")
    assert (small.name, small.family, small.critic, small.request) == ("tiny-16", "stylegan", None, None)
    assert small.prior is gan.prior
    assert not small.generator.training
    expected = Cut(gan.generator, 16, lambda x: F.conv2d(x, head["weight"].float(), head["bias"].float()))
    assert torch.equal(small.generator(z), expected(z))  # one computation, done twice


@pytest.mark.parametrize(
    "content", [None, b"", b"{}", {"weight": (3, 5, 1, 1), "bias": (3,)}, {"weight": (3, 8, 1, 1)}]
)
def test_a_head_that_does_not_fit_is_one_line(tmp_path, content):
    path = tmp_path / "head.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        save_file({key: torch.zeros(shape) for key, shape in content.items()}, path)
    with pytest.raises(UserError, match=r"head.safetensors is no head of tiny at 16 pixels \(") as error:
        cut(a_gan(), 16, path)
    assert str(error.value).isprintable()


def test_only_a_mobile_stylegan_is_cut_and_only_where_a_head_is():
    with pytest.raises(UserError, match="mnist-no-9 is no MobileStyleGAN: nothing else is cut"):
        cut(zoo.load("mnist-no-9"), 64)
    with pytest.raises(UserError, match="is cut at 4, 8, 16 pixels, not at 64"):
        cut(a_gan(), 64)
    with pytest.raises(UserError, match=r"ffhq-head-8.safetensors is no head of tiny at 8 pixels"):
        cut(a_gan(), 8)


@pytest.fixture(scope="module")
def of_published_size():
    with torch.random.fork_rng():
        return GAN(Generator().eval(), None, StandardNormal(512), "ffhq-mobilestylegan", "stylegan")


@pytest.mark.parametrize(("side", "width", "layers"), [(64, 512, 9), (128, 256, 11)])
def test_the_shipped_heads_fit_the_published_sizes_and_say_their_terms(of_published_size, side, width, layers):
    small = cut(of_published_size, side)
    assert small.name == f"ffhq-mobilestylegan-{side}"
    assert small.generator.layers == layers
    assert small.generator.head.weight.shape == (3, width, 1, 1)
    assert small.sample(1).shape == (1, 3, side, side)
    path = HEADS / f"ffhq-head-{side}.safetensors"
    assert path.stat().st_size < 4096
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}
    card = path.with_suffix(".md").read_text("utf-8")
    assert f"{3 * width + 3:,} numbers" in card
    assert "not for commercial use" in card
