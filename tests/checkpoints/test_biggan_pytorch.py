"""BigGAN-PyTorch's layout against a plain re-implementation of its rules."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from minegan_lite import UserError
from tests.checkpoints.oracle import (
    attention,
    conv,
    double,
    down,
    drawn,
    iterated_sigma,
    load,
    normed,
    same,
    stored_sigma,
    up,
)

CHANNELS, CHUNK, EMBEDDING, CLASSES = (16, 16, 8), 3, 5, 4  # 16×16 pixels
LABELS = torch.tensor([0, 3, 2])


def spectral(layer: str, *shape: int, bias: bool = True) -> dict:
    tensors = {f"{layer}.weight": shape, f"{layer}.u0": (1, shape[0]), f"{layer}.sv0": (1,)}
    return {f"{layer}.bias": (shape[0],), **tensors} if bias else tensors


def attention_shapes(at: str, c: int) -> dict:
    parts = {"theta": (c // 8, c), "phi": (c // 8, c), "g": (c // 2, c), "o": (c, c // 2)}
    shapes = {f"{at}.gamma": ()}
    for part, shape in parts.items():
        shapes |= spectral(f"{at}.{part}", *shape, 1, 1, bias=False)
    return shapes


def generator_state(seed: int = 0) -> dict:
    shapes = {"shared.weight": (CLASSES, EMBEDDING), **spectral("linear", CHANNELS[0] * 16, CHUNK)}
    for i, (a, b) in enumerate(pairwise(CHANNELS)):
        for name, size in (("bn1", a), ("bn2", b)):
            shapes |= {f"blocks.{i}.0.{name}.stored_mean": (size,), f"blocks.{i}.0.{name}.stored_var": (size,)}
            for to in ("gain", "bias"):
                shapes |= spectral(f"blocks.{i}.0.{name}.{to}", size, EMBEDDING + CHUNK, bias=False)
        shapes |= spectral(f"blocks.{i}.0.conv1", b, a, 3, 3) | spectral(f"blocks.{i}.0.conv2", b, b, 3, 3)
        shapes |= spectral(f"blocks.{i}.0.conv_sc", b, a, 1, 1)
    shapes |= attention_shapes("blocks.0.1", CHANNELS[1])
    shapes |= {f"output_layer.0.{what}": (CHANNELS[-1],) for what in ("gain", "bias", "stored_mean", "stored_var")}
    return drawn(shapes | spectral("output_layer.2", 3, CHANNELS[-1], 3, 3), seed)


def critic_state(channels=(16, 8, 12), seed: int = 1) -> dict:
    """Blocks of a critic; one that rests and keeps its channels has no shortcut."""
    shapes, pools = {}, len(channels) - (2 if len(channels) == 4 else 1)
    for i, (a, b) in enumerate(zip((3, *channels), channels, strict=False)):
        shapes |= spectral(f"blocks.{i}.0.conv1", b, a, 3, 3) | spectral(f"blocks.{i}.0.conv2", b, b, 3, 3)
        shapes |= spectral(f"blocks.{i}.0.conv_sc", b, a, 1, 1) if a != b or i < pools else {}
    shapes |= attention_shapes("blocks.0.1", channels[0])
    return drawn(
        shapes | spectral("linear", 1, channels[-1]) | spectral("embed", CLASSES, channels[-1], bias=False), seed
    )


def reference(state, z, labels, *, sprung: str = ""):
    """The generator's rules. `sprung` is the trap that it falls into."""
    state, eps = double(state), 1e-4 if sprung == "eps" else 1e-5

    def weight(layer):
        w, u = state[f"{layer}.weight"], state[f"{layer}.u0"]
        return stored_sigma(w, u, F.normalize(u @ w.flatten(1))) if sprung == "sigma" else iterated_sigma(w, u)

    def layer(x, name):
        return conv(x, weight(name), state.get(f"{name}.bias"))

    y, parts = state["shared.weight"][labels], z.split(CHUNK, 1)
    if sprung == "chunks":
        parts = parts[::-1]
    h = (parts[0] @ weight("linear").T + state["linear.bias"]).reshape(len(z), CHANNELS[0], 4, 4)
    for i, part in enumerate(parts[1:]):
        at = f"blocks.{i}.0"
        condition = torch.cat([part, y] if sprung == "order" else [y, part], 1)

        def bn(x, name, condition=condition):
            gain, bias = (condition @ weight(f"{name}.{to}").T for to in ("gain", "bias"))
            gain = gain if sprung == "gain" else 1 + gain
            return normed(x, state[f"{name}.stored_mean"], state[f"{name}.stored_var"], gain, bias, eps)

        mode = "bilinear" if sprung == "upsample" else "nearest"
        out = layer(up(bn(h, f"{at}.bn1").relu(), mode), f"{at}.conv1")
        out = layer(bn(out, f"{at}.bn2").relu(), f"{at}.conv2")
        h = out + layer(up(h, mode), f"{at}.conv_sc")
        if f"blocks.{i}.1.gamma" in state:
            maps = (weight(f"blocks.{i}.1.{part}") for part in ("theta", "phi", "g", "o"))
            h = attention(h, *maps, state[f"blocks.{i}.1.gamma"])
    h = normed(h, *(state[f"output_layer.0.{what}"] for what in ("stored_mean", "stored_var", "gain", "bias")), eps)
    return layer(h.relu(), "output_layer.2").tanh()


def critic_reference(state, x, labels=None, *, sprung: str = ""):
    state = double(state)

    def weight(layer):
        return iterated_sigma(state[f"{layer}.weight"], state[f"{layer}.u0"])

    def layer(x, name):
        return conv(x, weight(name), state[f"{name}.bias"])

    blocks = sorted({int(key.split(".")[1]) for key in state if key.startswith("blocks.")})
    for i in blocks:
        at = f"blocks.{i}.0"
        rests = i >= len(blocks) - (2 if len(blocks) == 4 else 1)
        pool = (lambda x: x) if rests else down
        before = x.relu() if i else x
        shortcut = before if sprung == "rectified" else x
        if f"{at}.conv_sc.weight" in state:
            shortcut = layer(shortcut, f"{at}.conv_sc")
        x = pool(layer(layer(before, f"{at}.conv1").relu(), f"{at}.conv2")) + pool(shortcut)
        if f"blocks.{i}.1.gamma" in state:
            maps = (weight(f"blocks.{i}.1.{part}") for part in ("theta", "phi", "g", "o"))
            x = attention(x, *maps, state[f"blocks.{i}.1.gamma"])
    h = x.relu().mean((2, 3)) if sprung == "mean" else x.relu().sum((2, 3))
    score = h @ weight("linear").T + state["linear.bias"]
    return score if labels is None else score + (weight("embed")[labels] * h).sum(1, keepdim=True)


@pytest.fixture
def z():
    return torch.randn(3, 9, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.fixture
def x():
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(6), dtype=torch.float64)


def test_a_generator_is_the_original(z):
    state = generator_state()
    gan = load(state)
    generator = gan.generator
    assert (gan.name, gan.critic) == ("biggan-pytorch", None)
    assert (generator.latent_dim, generator.embedding_dim, generator.image_shape) == (9, EMBEDDING, (3, 16, 16))
    assert len(generator.classes) == CLASSES
    assert gan.prior(2, torch.Generator()).shape == (2, 9)
    assert same(lambda z: generator(z, generator.embed(LABELS).double()), lambda z: reference(state, z, LABELS), z)


@pytest.mark.parametrize("sprung", ["sigma", "eps", "order", "chunks", "gain", "upsample"])
def test_no_trap_of_the_generator_is_sprung(z, sprung):
    state = generator_state()
    generator = load(state).generator
    ours = lambda z: generator(z, generator.embed(LABELS).double())  # noqa: E731
    assert not same(ours, lambda z: reference(state, z, LABELS, sprung=sprung), z)


def test_sigma_stays_the_same_from_call_to_call(z):
    generator = load(generator_state()).generator
    before = {key: x.clone() for key, x in generator.state_dict().items()}
    first, again = (generator(z, generator.embed(LABELS).double()) for _ in range(2))
    assert torch.equal(first, again)
    assert all(torch.equal(x, before[key]) for key, x in generator.state_dict().items())


@pytest.mark.parametrize("channels", [(16, 8, 12), (16, 8, 8), (8, 8, 8, 8)])
def test_a_critic_is_the_original(x, channels):
    state = critic_state(channels)
    critic = load(generator_state(), critic=state).critic
    assert critic(x).shape == (3, 1)
    assert same(critic, lambda x: critic_reference(state, x), x)
    assert same(lambda x: critic(x, LABELS), lambda x: critic_reference(state, x, LABELS), x)


@pytest.mark.parametrize("sprung", ["rectified", "mean"])
def test_no_trap_of_the_critic_is_sprung(x, sprung):
    state = critic_state()
    critic = load(generator_state(), critic=state).critic
    assert not same(critic, lambda x: critic_reference(state, x, sprung=sprung), x)


def test_a_variant_that_is_not_supported_is_named_and_not_called_incomplete():
    """Without --G_shared, as the code's script for CIFAR has it, gains and biases are embeddings of the class itself;
    with it but without --hier the whole latent goes into the first layer."""
    state = generator_state()
    gains = [key for key in state if ".gain." in key or (".bn" in key and ".bias." in key)]
    unshared = {key: x for key, x in state.items() if key not in gains and key != "shared.weight"}
    unshared |= {key: torch.zeros(CLASSES, len(state[key])) for key in gains if key.endswith(".weight")}
    flat = state | {key: state[key][:, :EMBEDDING] for key in gains if key.endswith(".weight")}
    for variant, words in ((unshared, "not shared (no --G_shared)"), (flat, "not cut into chunks (no --hier)")):
        with pytest.raises(UserError, match="this variant of BigGAN is not supported") as error:
            load(variant)
        assert words in str(error.value)
