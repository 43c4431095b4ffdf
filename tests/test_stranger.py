"""What a stranger does: a GAN and a folder of their own, five lines, and one line for each thing that is wrong."""

import json

import pytest
import torch
from PIL import Image
from torch import nn

import minegan_lite as ml
from minegan_lite.data import packages
from minegan_lite.metrics.pictures import WEIGHTS

FAST = {"steps": 3, "batch": 4, "progress": False, "device": "cpu"}


class DCGAN(nn.Module):
    """z (n, 20, 1, 1) → (n, 3, 32, 32), with BatchNorm, in [−1, 1], as PyTorch's tutorial writes it."""

    def __init__(self, nz=20, width=8, end=nn.Tanh):
        super().__init__()
        layers = [nn.ConvTranspose2d(nz, 4 * width, 4), nn.BatchNorm2d(4 * width), nn.ReLU()]
        for inputs, outputs in ((4 * width, 2 * width), (2 * width, width)):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1), end())

    def forward(self, z):
        return self.main(z)


class Discriminator(nn.Module):
    """(n, 3, 32, 32) → a probability each, (n, 1, 1, 1)."""

    def __init__(self, width=8, end=nn.Sigmoid):
        super().__init__()
        layers = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(width, 2 * width, 4, 2, 1), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*layers, nn.Conv2d(2 * width, 1, 8), end())

    def forward(self, x):
        return self.main(x)


class ByClass(nn.Module):
    """z (n, 6) and class numbers (n,) → (n, 1, 8, 8) in [0, 1]."""

    def __init__(self):
        super().__init__()
        self.rows, self.map = nn.Embedding(3, 6), nn.Linear(6, 64)

    def forward(self, z, labels):
        return torch.sigmoid(self.map(z + self.rows(labels))).view(-1, 1, 8, 8)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = torch.Generator().manual_seed(0)
    for i in range(20):
        pixels = torch.randint(256, (32, 32, 3), generator=rng, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{i}.png")
    return folder


def test_five_lines(photos, tmp_path):
    generator, discriminator = DCGAN(), Discriminator()
    before = {name: weight.clone() for name, weight in generator.state_dict().items()}

    gan = ml.GAN.wrap(generator, discriminator, latent_dim=20)
    target = ml.few_shot(photos)
    mined = ml.mine(gan, target, **FAST)
    mined.save(tmp_path / "miner.safetensors")
    again = ml.load(tmp_path / "miner.safetensors", gan)

    assert gan.family == "logistic"
    assert mined.record["loss"] == "logistic"
    assert (len(target.train), len(target.held_out)) == (16, 4)
    assert mined.sample(5).shape == again.sample(5).shape == (5, 3, 32, 32)
    assert (mined.sample(5, seed=3) - again.sample(5, seed=3)).abs().max() < 0.02  # half precision
    assert all(torch.equal(weight, before[name]) for name, weight in generator.state_dict().items())


def test_and_a_sixth_says_how_good_it_is(photos):
    """By Lite0 where its weights are here; elsewhere a network of one's own stands in its place, as it may."""
    gan, target = ml.GAN.wrap(DCGAN(), Discriminator(), latent_dim=20), ml.few_shot(photos)
    here = packages.place(WEIGHTS["package"], WEIGHTS["version"], WEIGHTS["file"]).is_file()
    own = {} if here else {"features": nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8))}
    numbers = ml.evaluate(ml.mine(gan, target, **FAST), target, n=20, **own)
    assert numbers["classifier_error"] is None
    assert numbers["kid"]["value"] > numbers["kid"]["floor"]
    assert numbers["copying"]["n"] > 0
    assert ("Lite0" in numbers["kid"]["distance"]) == here


def test_a_folder_is_a_target_and_pictures_of_another_size_are_resized(photos):
    gan = ml.GAN.wrap(DCGAN(), Discriminator(), latent_dim=20)
    Image.new("RGBA", (50, 40)).save(photos / "other.png")
    assert ml.mine(gan, photos, **FAST).record["images"] == 16


def test_pixels_in_other_ranges_and_classes_are_translated():
    generator = ByClass()
    gan = ml.GAN.wrap(generator, latent_dim=6, image_range=(0, 1), classes=3)
    z = torch.randn(4, 6)
    with torch.no_grad():
        own = generator(z, torch.full((4,), 2))
        ours = ml.classes_of(gan)[2].generator(z)
    torch.testing.assert_close(ours, 2 * own - 1)
    mined = ml.mine(gan, torch.rand(6, 1, 8, 8) * 2 - 1, **FAST)
    assert list(mined.probabilities) == ["own:0", "own:1", "own:2"]
    assert gan.sample(6, classes=[0, 1, 2]).shape == (6, 1, 8, 8)


@pytest.mark.parametrize("end", [nn.Sigmoid, nn.Identity])
def test_a_critics_logits_are_its_scores(end):
    discriminator = Discriminator(end=end)
    gan = ml.GAN.wrap(DCGAN(), discriminator, latent_dim=20)
    x = torch.rand(4, 3, 32, 32) * 2 - 1
    bare = nn.Sequential(*list(discriminator.main)[:-1]).eval()
    with torch.no_grad():
        torch.testing.assert_close(gan.critic.eval()(x), bare(x).flatten(1), rtol=1e-4, atol=1e-4)
    assert gan.family == ("logistic" if end is nn.Sigmoid else "wgan-gp")


@pytest.mark.parametrize("how", ["half", "parallel", "compiled", "own length"])
def test_networks_of_any_kind_are_wrapped(how):
    generator, discriminator, length = DCGAN(), Discriminator(), {"latent_dim": 20}
    images = torch.rand(6, 3, 32, 32) * 2 - 1
    plain = ml.GAN.wrap(generator, discriminator, **length).sample(3)
    if how == "half":
        generator, discriminator = generator.half(), discriminator.half()
    elif how == "parallel":
        generator, discriminator = nn.DataParallel(generator), nn.DataParallel(discriminator)
    elif how == "compiled":
        generator, discriminator = torch.compile(generator), torch.compile(discriminator)
    else:
        generator.nz, length = 20, {}
    gan = ml.GAN.wrap(generator, discriminator, **length)
    assert (gan.sample(3) - plain).abs().max() < 0.05
    assert ml.mine(gan, images, **FAST).sample(2).shape == (2, 3, 32, 32)


def nan(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        next(module.parameters()).view(-1)[0] = torch.nan
    return module


IMAGES = torch.rand(6, 3, 32, 32) * 2 - 1
WRONG = {
    "no latent size": (lambda: ml.GAN.wrap(DCGAN()), "does not say how long z is"),
    "z of another length": (lambda: ml.GAN.wrap(DCGAN(), latent_dim=7), r"draws no images from z \(2, 7\) or"),
    "no generator": (lambda: ml.GAN.wrap(lambda z: z, latent_dim=7), "must be an nn.Module"),
    "no images": (lambda: ml.GAN.wrap(nn.Linear(7, 5), latent_dim=7), r"gives \(2, 5\) for n = 2"),
    "another range": (lambda: ml.GAN.wrap(DCGAN(), latent_dim=20, image_range=(1, 0)), "image_range must be"),
    "another critic": (
        lambda: ml.mine(ml.GAN.wrap(DCGAN(), nn.Linear(7, 1), latent_dim=20), IMAGES, **FAST),
        "the critic of own cannot judge images",
    ),
    "NaN weights": (
        lambda: ml.mine(ml.GAN.wrap(nan(DCGAN()), latent_dim=20), IMAGES, **FAST), "weights that are NaN or infinite",
    ),
    "uint8 images": (
        lambda: ml.mine(ml.GAN.wrap(DCGAN(), latent_dim=20), IMAGES.mul(255).float(), **FAST), "must lie in",
    ),
    "one image": (lambda: ml.mine(ml.GAN.wrap(DCGAN(), latent_dim=20), IMAGES[:1], **FAST), "at least 2 images"),
    "another shape": (
        lambda: ml.mine(ml.GAN.wrap(DCGAN(), latent_dim=20), IMAGES[..., :16], **FAST), "resize them first",
    ),
    "another family": (
        lambda: ml.mine(ml.GAN.wrap(DCGAN(), latent_dim=20, family="vae"), IMAGES, **FAST), "unknown family 'vae'",
    ),
    "no such name": (lambda: ml.load_gan("mnist-no-10"), "unknown GAN 'mnist-no-10'"),
    "no such file": (lambda: ml.load_gan("nowhere/G.pth"), "nowhere/G.pth"),
    "no such folder": (lambda: ml.mine(ml.GAN.wrap(DCGAN(), latent_dim=20), "nowhere", **FAST), "is no folder"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_one_line(what):
    call, message = WRONG[what]
    with pytest.raises(ml.UserError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


# --- saved miners -----------------------------------------------------------------------------------------------------


def test_a_saved_miner_is_small_and_samples_as_it_did(tmp_path):
    gan, nine = ml.load_gan("mnist-no-9"), ml.few_shot("uci-digits", digit=9, n=20)
    mined = ml.mine(gan, nine, **FAST)
    path = mined.save(tmp_path / "half.safetensors")
    assert path.stat().st_size < 300_000
    assert (ml.load(path).sample(8) - mined.sample(8)).abs().max() < 0.02
    exact = ml.load(mined.save(tmp_path / "whole.safetensors", torch.float32))
    assert torch.equal(exact.sample(8), mined.sample(8))
    assert exact.record == json.loads(json.dumps(mined.record))
    with pytest.raises(ml.UserError, match="no critic"):
        exact.supersample()
    with pytest.raises(ml.UserError, match=r"result of mine\(\)"):
        ml.finetune(exact, nine, **FAST)


def test_a_saved_family_keeps_its_selector_and_a_tuned_one_its_generators(tmp_path):
    pair, nine = [ml.load_gan(name) for name in ("mnist-only-06", "mnist-only-17")], ml.few_shot("uci-digits", digit=9)
    mined = ml.mine(pair, nine, **FAST)
    tuned = ml.finetune(mined, nine, **FAST)
    for one in (mined, tuned):
        loaded = ml.load(one.save(tmp_path / "one.safetensors", torch.float32))
        assert loaded.probabilities == one.probabilities
        assert torch.equal(loaded.sample(8, seed=2), one.sample(8, seed=2))


def test_a_saved_miner_of_other_weights_or_no_saved_miner_is_one_line(tmp_path):
    mined = ml.mine(ml.load_gan("mnist-no-9"), ml.few_shot("uci-digits", digit=9), **FAST)
    path = mined.save(tmp_path / "one.safetensors")
    with pytest.raises(ml.UserError, match="other weights than these of mnist-only-06"):
        ml.load(path, ml.load_gan("mnist-only-06"))
    for name, content in {"cut": path.read_bytes()[:999], "page": b"<html>", "empty": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ml.UserError, match=name) as caught:
            ml.load(tmp_path / name)
        assert "\n" not in str(caught.value)
    adapted = ml.transfer.adapt("vae", ml.load_gan("mnist-no-9"), ml.few_shot("uci-digits", digit=9), **FAST)
    with pytest.raises(ml.UserError, match="adapt"):
        adapted.save(tmp_path / "vae.safetensors")


# --- a critic that is taught ------------------------------------------------------------------------------------------


def test_a_taught_critic_tells_the_sources_samples_from_pictures():
    """An oracle: pictures are bright, samples are dark, and nothing else differs."""

    class Dark(nn.Module):
        latent_dim, embedding_dim, image_shape = 4, None, (1, 8, 8)

        def __init__(self):
            super().__init__()
            self.map = nn.Linear(4, 64)

        def forward(self, z):
            return (torch.tanh(self.map(z)) / 2 - 0.5).view(-1, 1, 8, 8)

    gan = ml.GAN.wrap(Dark(), name="dark")
    bright = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="no value below 0"):
        taught = ml.teach_critic(gan, bright, steps=60, critic_lr=3e-3, progress=False, device="cpu")
    with torch.no_grad():
        apart = taught.critic(bright).min() - taught.critic(gan.sample(64)).max()
    assert apart > 0
    assert gan.critic is None
    assert ml.mine(taught, 2 * bright - 1, **FAST).history[-1]["critic_loss"] != 0
