"""The layout of PyTorch's DCGAN against a plain re-implementation, in both spellings and in both kinds of file."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from minegan_lite import UserError
from minegan_lite.checkpoints import load as load_single
from tests.checkpoints.oracle import double, drawn, load, normed, same

CHANNELS, LATENT = (6, 4), 5  # 16×16 pixels
STATISTICS = ("weight", "bias", "running_mean", "running_var")


def generator_state(spelling="main", channels=CHANNELS) -> dict:
    def named(i):
        return (f"main.{3 * i}", f"main.{3 * i + 1}") if spelling == "main" else (f"convTr{i + 1}", f"batchNorm{i + 1}")

    shapes = {}
    for i, (a, b) in enumerate(pairwise((LATENT, *channels, 3))):
        conv, norm = named(i)
        shapes[f"{conv}.weight"] = (a, b, 4, 4)
        shapes |= {f"{norm}.{what}": (b,) for what in STATISTICS} if i < len(channels) else {}
    counters = {f"{named(i)[1]}.num_batches_tracked": torch.tensor(1000) for i in range(len(channels))}
    return drawn(shapes) | counters


def spread(x, weight, stride, cut, sprung):
    """A transposed convolution written down: each number of x adds its kernel (4, 4) to the output."""
    n, _, side, _ = x.shape
    if sprung == "axes" and weight.shape[0] == weight.shape[1]:
        weight = weight.transpose(0, 1)
    out = x.new_zeros(n, weight.shape[1], (side - 1) * stride + 4, (side - 1) * stride + 4)
    for i in range(side):
        for j in range(side):
            kernels = torch.einsum("nc,cdkl->ndkl", x[:, :, i, j], weight)
            out[:, :, i * stride : i * stride + 4, j * stride : j * stride + 4] += kernels
    return out[:, :, cut : out.shape[2] - cut, cut : out.shape[3] - cut]


def dcgan(state, z, *, spelling="main", eps=1e-5, sprung=""):
    state, h = double(state), z[:, :, None, None]
    convs = [x for x in state.values() if x.ndim == 4]
    norms = sorted({key.rpartition(".")[0] for key in state if key.endswith("running_mean")}, key=lambda k: int(k[-1]))
    for i, weight in enumerate(convs):
        h = spread(h, weight, 2 if i or sprung == "stride" else 1, 1 if i else 0, sprung)
        if i < len(norms):
            mean, var, gain, bias = (state[f"{norms[i]}.{what}"] for what in (*STATISTICS[2:], *STATISTICS[:2]))
            h = normed(h, mean, var, gain, bias, eps)
            h = F.leaky_relu(h, 0.2) if sprung == "leaky" else h.relu()
    return h if sprung == "untamed" else h.tanh()


@pytest.fixture
def z():
    return torch.randn(3, LATENT, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.mark.parametrize("channels", [CHANNELS, (8, 6, 4), (3,)])
@pytest.mark.parametrize("spelling", ["main", "convTr"])
def test_it_is_the_original(z, spelling, channels):
    state = generator_state(spelling, channels)
    gan = load(state)
    side = 4 << len(channels)
    assert (gan.name, gan.critic, gan.family) == ("dcgan", None, "logistic")
    assert (gan.generator.latent_dim, gan.generator.embedding_dim) == (LATENT, None)
    assert gan.generator.image_shape == (3, side, side)
    assert same(gan.generator, lambda z: dcgan(state, z), z)


@pytest.mark.parametrize("trap", [{"eps": 1e-4}, {"sprung": "axes"}, {"sprung": "leaky"}, {"sprung": "untamed"}])
def test_no_trap_is_sprung(z, trap):
    state = generator_state(channels=(4, 4))
    assert not same(load(state).generator, lambda z: dcgan(state, z, **trap), z)


def test_both_spellings_are_one_network(z):
    ours = [load(generator_state(spelling)).generator(z) for spelling in ("main", "convTr")]
    assert torch.equal(*ours)


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_either_kind_and_a_dict_within(tmp_path, zipped):
    state = generator_state("convTr" if not zipped else "main")
    path = tmp_path / "weights.tar"  # a torch archive under another name, as one package has it
    torch.save({"netG_state_dict": state} if zipped else state, path, _use_new_zipfile_serialization=zipped)
    assert torch.equal(load_single(path).sample(2), load_single(state).sample(2))


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("main.0.bias", torch.zeros(6), r"no place for, such as 'main.0.bias'"),  # a DCGAN with biases is another one
        ("main.4.running_var", -torch.ones(4), "negative variances"),
        ("main.3.weight", torch.full((6, 4, 4, 4), torch.nan), "'main.3.weight' has numbers that are not finite"),
        ("main.3.weight", torch.zeros(6, 4, 5, 5), r"expected \(6, 4, 4, 4\)"),
        ("main.900000000.weight", torch.zeros(3), "numbers its layers up to 900000000"),
    ],
)
def test_what_is_damaged_is_named(key, value, match):
    with pytest.raises(UserError, match=match) as error:
        load_single(generator_state() | {key: value})
    assert "\n" not in str(error.value)


def test_a_discriminator_is_no_generator():
    critic = {"main.0.weight": torch.zeros(4, 3, 4, 4), "main.2.weight": torch.zeros(8, 4, 4, 4)}
    critic |= {f"main.3.{what}": torch.zeros(8) for what in STATISTICS}
    with pytest.raises(UserError, match="no known generator layout"):
        load_single({"netD_state_dict": critic})
    with pytest.raises(UserError, match="the layout dcgan reads no critics"):
        load_single(generator_state(), critic=critic)
