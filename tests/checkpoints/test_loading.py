"""Reading strangers' files: safely, with errors that name what is wrong; and what all layouts have in common."""

import os
import pickle
import random
import sys
import types
import zipfile
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from minegan_lite import UserError
from minegan_lite.checkpoints import LAYOUTS, load, reading, states
from minegan_lite.gan import GAN
from tests.checkpoints import test_biggan_deep_hf, test_biggan_pytorch, test_sngan, test_studiogan

STATES = {
    "biggan-deep-hf": test_biggan_deep_hf.generator_state(),
    "biggan-pytorch": test_biggan_pytorch.generator_state(),
    "biggan-studiogan": test_studiogan.biggan_state(),
    "sngan-chainer": test_sngan.chainer_state(),
    "sngan-mimicry": test_sngan.mimicry_state(),
    "sngan-studiogan": test_studiogan.sngan_state(),
}
CRITICS = {
    "biggan-pytorch": test_biggan_pytorch.critic_state(),
    "biggan-studiogan": test_studiogan.critic_state(),
    "sngan-chainer": test_sngan.chainer_critic_state((4, 8, 8)),
    "sngan-studiogan": test_studiogan.critic_state(attends=False),
}
# tensors that say nothing about the output
IDLE = ("num_batches_tracked", "sv0", "/N")


class Hostile:
    """Unpickled, it would write a file."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def sample(gan: GAN) -> torch.Tensor:
    generator, z = gan.generator, gan.prior(2, torch.Generator().manual_seed(0))
    if generator.embedding_dim is None:
        return generator(z)
    return generator(z, generator.embed(torch.tensor([0, 2])))


@pytest.fixture
def mimicry():
    return dict(STATES["sngan-mimicry"])


@pytest.mark.parametrize("name", STATES)
def test_exactly_one_layout_says_yes(name):
    assert [layout.NAME for layout in LAYOUTS if layout.matches(states.tidy(STATES[name]))] == [name]
    gan = load(STATES[name], layout=name, name="mine")
    assert gan.name == "mine"
    assert not gan.generator.training
    assert torch.equal(sample(gan), sample(load(STATES[name])))


@pytest.mark.parametrize("name", STATES)
def test_every_tensor_that_is_missing_or_misshapen_is_named(name):
    """Any tensor may be the one that sizes are inferred from; the others then outvote it."""
    keys = [key for key in STATES[name] if not key.endswith(IDLE)]
    for key in random.Random(0).sample(keys, 8):
        state = dict(STATES[name])
        del state[key]
        with pytest.raises(UserError, match="lacks the tensor") as error:
            load(state, layout=name)
        assert repr(key) in str(error.value)
        state[key] = torch.zeros(7, 6, 5)
        with pytest.raises(UserError, match=r"shape \(7, 6, 5\)") as error:
            load(state, layout=name)
        assert repr(key) in str(error.value)


@pytest.mark.parametrize("name", CRITICS)
def test_a_critics_tensor_that_is_missing_or_misshapen_is_named(name):
    for key in random.Random(0).sample([key for key in CRITICS[name] if not key.endswith(IDLE)], 5):
        state = dict(CRITICS[name])
        del state[key]
        with pytest.raises(UserError, match="lacks the tensor") as error:
            load(STATES[name], critic=state)
        assert repr(key) in str(error.value)
        state[key] = torch.zeros(7, 6, 5)
        with pytest.raises(UserError, match=r"shape \(7, 6, 5\)") as error:
            load(STATES[name], critic=state)
        assert repr(key) in str(error.value)


def test_a_tensor_too_many_or_not_finite_is_named(mimicry):
    with pytest.raises(UserError, match=r"no place for, such as 'block2.extra'"):
        load(mimicry | {"block2.extra": torch.zeros(3)})
    with pytest.raises(UserError, match=r"'c4.bias' has numbers that are not finite"):
        load(mimicry | {"c4.bias": torch.tensor([0.0, float("nan"), 0.0])})


def test_files_of_every_kind_give_the_same_gan(mimicry, tmp_path):
    expected = sample(load(mimicry))
    torch.save({"model_state_dict": mimicry, "global_step": 7}, tmp_path / "new.pth")
    torch.save(mimicry, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({f"module.{key}": x for key, x in mimicry.items()}, tmp_path / "parallel.pth")
    torch.save({"state_dict": {f"module.{key}": x for key, x in mimicry.items()}}, tmp_path / "both.pth")
    save_file(mimicry, tmp_path / "weights.safetensors")
    np.savez_compressed(tmp_path / "weights.npz", **{key: x.numpy() for key, x in mimicry.items()})
    for path in sorted(tmp_path.iterdir()):
        gan = load(str(path))
        assert gan.name == path.stem
        assert torch.equal(sample(gan), expected), path.name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(mimicry, tmp_path, dtype):
    cast = {key: x.to(dtype) if x.is_floating_point() else x for key, x in mimicry.items()}
    torch.save(cast, tmp_path / "half.pth")
    gan = load(tmp_path / "half.pth")
    assert {x.dtype for x in gan.generator.parameters()} == {torch.float32}
    rounded = {key: x.float() if x.is_floating_point() else x for key, x in cast.items()}
    assert torch.equal(sample(gan), sample(load(rounded)))
    assert torch.allclose(sample(gan), sample(load(mimicry)), atol=0.1)


def test_loading_shares_nothing_with_the_dict_and_draws_nothing(mimicry):
    before, state = {key: x.clone() for key, x in mimicry.items()}, torch.get_rng_state()
    gan = load(mimicry)
    for weight in gan.generator.parameters():
        weight.data.add_(1)
    assert all(torch.equal(x, before[key]) for key, x in mimicry.items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_hostile_pickle_is_refused_and_not_run(mimicry, tmp_path, protocol):
    mark = tmp_path / "mark"
    torch.save(mimicry | {"config": Hostile(mark)}, tmp_path / "zip.pth", pickle_protocol=protocol)
    (tmp_path / "raw.pkl").write_bytes(pickle.dumps({"G_ema": Hostile(mark)}, protocol=protocol))
    np.savez(tmp_path / "objects.npz", **{"block2/b1/avg_mean": np.array([Hostile(mark)], dtype=object)})
    for name in ("zip.pth", "raw.pkl", "objects.npz"):
        with pytest.raises(UserError, match=name):
            load(tmp_path / name)
        assert not mark.exists()
    pickle.loads((tmp_path / "raw.pkl").read_bytes())
    assert mark.exists(), "the pickle is harmless: the test proves nothing"


def test_a_refusal_names_what_was_asked_for_and_gives_the_layouts_advice(tmp_path):
    torch.save({"a": Hostile("x")}, tmp_path / "hostile.pth")
    with pytest.raises(UserError, match=r"nothing in it was run: it asks for posix.system; save its state dicts alone"):
        reading.read(tmp_path / "hostile.pth")
    with pytest.raises(UserError, match=r"posix.system; convert it first"):
        reading.read(tmp_path / "hostile.pth", hints={"posix": "convert it first"})


@pytest.mark.parametrize("kind", ["new.pth", "old.pth", "weights.safetensors", "weights.npz"])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused(mimicry, tmp_path, kind, part):
    path = tmp_path / kind
    if kind.endswith(".pth"):
        torch.save(mimicry, path, _use_new_zipfile_serialization=kind == "new.pth")
    elif kind.endswith(".npz"):
        np.savez(path, **{key: x.numpy() for key, x in mimicry.items()})
    else:
        save_file(mimicry, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(UserError, match=kind) as error:
        load(path)
    assert "\n" not in str(error.value)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "missing.pth")
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html>too many downloads</html>")
    with pytest.raises(UserError, match=r"page.pth"):
        load(tmp_path / "page.pth")
    with zipfile.ZipFile(tmp_path / "138k.zip", "w") as archive:
        archive.writestr("138k/G_ema.pth", b"")
    with pytest.raises(UserError, match="unpack it"):
        load(tmp_path / "138k.zip")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(UserError, match="a checkpoint is a dict of tensors, this is a list"):
        load(tmp_path / "list.pth")


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("name", STATES)
def test_sizes_of_which_no_network_can_be_made_are_refused(name):
    empty = {key: x[..., :0] if x.ndim else x for key, x in STATES[name].items()}
    with pytest.raises(UserError):
        load(empty, layout=name)
    with pytest.raises(UserError):
        load({key: x[:0] if x.ndim else x for key, x in STATES[name].items()}, layout=name)


def test_an_unknown_layout_is_refused(mimicry):
    with pytest.raises(UserError, match=r"these keys \(conv1.weight, …\): known are biggan-deep-hf"):
        load({"conv1.weight": torch.zeros(3)})
    with pytest.raises(UserError, match=r"these keys \(none, …\)"):
        load({})
    with pytest.raises(UserError, match="unknown layout 'sngan': known are"):
        load(mimicry, layout="sngan")


def test_a_layout_that_the_file_is_not_in_names_a_tensor(mimicry):
    for layout in LAYOUTS:
        if layout.NAME != "sngan-mimicry":
            with pytest.raises(UserError, match="lacks the tensor"):
                load(mimicry, layout=layout.NAME)


def test_a_generators_file_given_as_critic_is_refused():
    with pytest.raises(UserError, match="no critic in the layout biggan-pytorch in the given critic"):
        load(STATES["biggan-pytorch"], critic=STATES["biggan-pytorch"])


def test_a_layouts_own_class_may_be_allowed(tmp_path):
    """The hub's progressive GANs hold their configuration as a class: a layout may name a stand-in for it."""

    class Stand:
        pass

    Stand.__module__, Stand.__qualname__ = "models.config", "Config"
    path, config, module = tmp_path / "config.pth", Stand(), types.ModuleType("models.config")
    config.depth, module.Config = 3, Stand
    with patch.dict(sys.modules, {"models": types.ModuleType("models"), "models.config": module}):
        torch.save({"config": config, "netG": {"a": torch.ones(2)}}, path)
    with pytest.raises(UserError, match=r"models.config.Config"):
        reading.read(path)
    read = reading.read(path, [(Stand, "models.config.Config")])
    assert read["config"].depth == 3
    assert torch.equal(states.tidy(read)["netG"]["a"], torch.ones(2))
