"""A stranger's state dict is checked once, for all layouts: whatever it holds, it is a GAN or one line."""

import copy
import random

import numpy as np
import pytest
import torch

from minegan_lite import UserError, checkpoints
from minegan_lite.checkpoints.states import tidy
from tests.checkpoints.files import FILES

MUTATIONS = 25  # of each layout's file
WRAPPED = {
    "DataParallel twice": ("module.module.{}", False),
    "compiled": ("_orig_mod.{}", False),
    "parallel, compiled": ("_orig_mod.module.{}", False),
    "compiled, parallel": ("module._orig_mod.{}", False),
    "averaged": ("module.{}", True),
    "averaged, parallel and compiled": ("module.module._orig_mod.module.{}", True),
}


def same(a, b):
    return torch.equal(checkpoints.sample(a, 2), checkpoints.sample(b, 2))


@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.parametrize("name", ["sngan-mimicry", "biggan-pytorch", "pgan-zoo", "stylegan2-rosinality"])
def test_any_stack_of_wrappers_is_taken_off(name, wrapped):
    spelling, averaged = WRAPPED[wrapped]

    def wrap(state):
        if all(isinstance(value, dict) for value in state.values()):  # of several networks
            return {key: wrap(value) for key, value in state.items()}
        counter = {"n_averaged": torch.tensor(5)} if averaged else {}
        return counter | {spelling.format(key): value for key, value in state.items()}

    state = FILES[name]()
    plain = checkpoints.load(state)
    gan = checkpoints.load({"state_dict": wrap(state), "epoch": 3} if "zoo" not in name else wrap(state))
    assert same(gan, plain)
    assert (gan.critic is None) == (plain.critic is None)


def test_a_compiled_part_of_a_network_and_tensors_beside_numbers_are_read():
    state = FILES["sngan-mimicry"]()
    renamed = {f"module.{key.replace('block2.', 'block2._orig_mod.')}": x for key, x in state.items()}
    assert same(checkpoints.load(renamed | {"epoch": 3, "name": "run", "best": None}), checkpoints.load(state))


def test_dicts_under_unknown_names_are_named():
    state = FILES["sngan-mimicry"]()
    with pytest.raises(UserError, match=r"a generator in the layout sngan-mimicry under 'gen', .*save that dict alone"):
        checkpoints.load({"dis": {"a": torch.ones(1)}, "gen": state})
    with pytest.raises(UserError, match="it holds g, d, g_ema, and no known generator layout"):
        checkpoints.load({key: {"a.weight": torch.ones(1)} for key in ("g", "d", "g_ema")})


def test_dicts_that_hold_themselves_or_go_deep_are_refused_and_shared_ones_are_read():
    own = FILES["sngan-mimicry"]()
    own["self"] = own
    with pytest.raises(UserError, match="a dict of the checkpoint holds itself"):
        tidy(own)
    deep = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(UserError, match="nested hundreds deep"):
        tidy(deep)
    many = {"x": torch.ones(1)}
    for _ in range(60):  # 2⁶⁰ ways to the tensor
        many = {"a": many, "b": many}
    assert tidy(many)["a"]["b"] is not None


def test_numbers_of_layers_do_not_make_lists_without_end():
    for name, key in (("stylegan2-rosinality", "style.{}.bias"), ("sngan-mimicry", "block{}.b1.bias")):
        state = FILES[name]()
        state.get("g_ema", state)[key.format(10**9)] = torch.ones(3)
        with pytest.raises(UserError, match="numbers its layers up to 1000000000, but has"):
            checkpoints.load(state)


def test_a_network_far_larger_than_its_file_is_not_made():
    """Sizes come from short tensors: a few megabytes of biases would make convolutions of hundreds of gigabytes."""
    n = 100_000
    state = {key: torch.zeros(n) for key in ("block2.b1.weight", "block2.b1.bias", "block2.b1.running_mean",
                                             "b3.weight", "b3.bias", "b3.running_mean")}  # fmt: skip
    state |= {"l1.bias": torch.zeros(n * 16), "l1.weight": torch.zeros(n * 16, 1)}
    with pytest.raises(UserError, match="its sizes are those of a network of 1"):
        checkpoints.load(state)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int8, torch.int64, torch.bool])
@pytest.mark.parametrize("name", FILES)
def test_weights_are_floating_point_numbers(name, dtype):
    state = FILES[name]()
    own = next((value for value in state.values() if isinstance(value, dict)), state)
    key = max((key for key, x in own.items() if x.is_floating_point()), key=lambda key: own[key].numel())
    for part in [value for value in state.values() if isinstance(value, dict)] or [state]:
        if key in part:
            part[key] = part[key].to(dtype)
    with pytest.raises(UserError, match=f"is of {dtype}, weights are floating-point"):
        checkpoints.load(state)


def looped():
    loop = {}
    loop["loop"] = loop
    return loop


VALUES = {
    "None": lambda x: None,
    "list": lambda x: [x],
    "number": lambda x: 3,
    "text": lambda x: "text\x1b[2J",
    "dict": lambda x: {"a": x},
    "loop": lambda x: looped(),
    "meta": lambda x: x.to("meta") if isinstance(x, torch.Tensor) else x,
    "objects": lambda x: np.array([None], dtype=object),
    "bytes": lambda x: b"\xff",
}
TENSORS = {
    "complex": lambda x: x.to(torch.complex64),
    "integers": lambda x: x.to(torch.int64),
    "truths": lambda x: x.bool(),
    "NaN": lambda x: torch.full_like(x.float(), torch.nan),
    "infinite": lambda x: torch.full_like(x.float(), torch.inf),
    "huge": lambda x: x.float() * 1e30,
    "nothing": lambda x: torch.zeros_like(x.float()),
    "negative": lambda x: -x.float().abs() - 1,
    "half": lambda x: x.half(),
    "empty": lambda x: x[..., :0] if x.ndim else x,
    "expanded": lambda x: x.flatten()[:1].expand(50, 60),
    "turned": lambda x: x.mT if x.ndim > 1 else x[None],
    "longer": lambda x: torch.cat([x, x]) if x.ndim else x,
    "flat": lambda x: x.flatten(),
    "sparse": lambda x: x.to_sparse(),
    "array": lambda x: x.numpy().astype(">f4"),
}


def mutate(state, rng):
    """Changes one to three places of a file's dicts, and says how."""
    did = []
    for _ in range(rng.randint(1, 3)):
        parts = [state, *(value for value in state.values() if isinstance(value, dict))]
        part = rng.choice(parts[1:] or parts) if rng.random() < 0.8 else state
        if not part:
            continue
        key = rng.choice(list(part))
        kind = rng.choice(["value", "tensor", "tensor", "drop", "rename", "number", "setting"])
        if kind == "drop":
            del part[key]
        elif kind == "rename":
            part[f"{key}{rng.choice(['', '.x', '0'])}"] = part.pop(key)
        elif kind == "number":
            part[str(key).replace("1", str(rng.choice([0, 7, 99, 10**9])))] = part.pop(key)
        elif kind == "setting":
            name = rng.choice(["conv_clamp", "mbstd_group_size", "latent_avg", "lod", "config", "models", "D", "netD"])
            part[name] = rng.choice([None, -1, 0, True, float("nan"), "x", [], torch.ones(2), 1e400, {}])
        elif kind == "tensor" and isinstance(part[key], torch.Tensor):
            kind = rng.choice(list(TENSORS))
            part[key] = TENSORS[kind](part[key])
        else:
            kind = rng.choice(list(VALUES))
            part[key] = VALUES[kind](part[key])
        did.append((kind, str(key)[:40]))
    return did


@pytest.mark.filterwarnings("ignore:Initializing zero-element", "ignore:Casting complex")
@pytest.mark.parametrize("name", FILES)
def test_whatever_is_changed_in_a_file_it_is_a_gan_that_draws_or_one_line(name):
    whole, rng, loaded = FILES[name](), random.Random(name), 0
    for _ in range(MUTATIONS):
        state = copy.copy(whole)
        for key, value in state.items():
            state[key] = dict(value) if isinstance(value, dict) else value
        did = mutate(state, rng)
        try:
            images = checkpoints.sample(checkpoints.load(state), 2)
        except UserError as error:
            said = str(error)
        except Exception as error:
            raise AssertionError(f"{did}: {error!r}") from error
        else:
            loaded, said = loaded + 1, ""
            assert images.isfinite().all(), did
        assert said == "" or said.isprintable(), did
        assert len(said) < 2000, did
    assert loaded < MUTATIONS, "nothing was refused"
