"""The two stages: frozen is frozen, one seed is one result, a killed run goes on as if nothing had happened."""

import json
import math

import pytest
import torch
from tiny import TinyCritic, everything, same, tiny_gan, tiny_target

from minegan_lite import files
from minegan_lite.config import Mining, resolve
from minegan_lite.data import FewShot
from minegan_lite.errors import Diverged, UserError
from minegan_lite.gan import GAN, StandardNormal
from minegan_lite.mined import Unmined, load
from minegan_lite.miner import Miner
from minegan_lite.networks.plain import PlainCritic
from minegan_lite.nn import stream
from minegan_lite.training import finetune, mine

FAST = {
    "steps": 12,
    "batch": 4,
    "save_every": 4,
    "log_every": 3,
    "progress": False,
    "device": "cpu",
}


def outcome(mined) -> list[torch.Tensor]:
    return [
        *mined.miner.state_dict().values(), *mined.miners_average[0].state_dict().values(),
        *mined.critic.state_dict().values(), *mined.generators_average[0].state_dict().values(), mined.sample(5),
    ]  # fmt: skip


def equal(a, b) -> bool:
    return a.history == b.history and all(torch.equal(x, y) for x, y in zip(outcome(a), outcome(b), strict=True))


def test_frozen_means_every_byte_flag_and_mode():
    gan = tiny_gan()  # in train mode, with BatchNorm and both spectral norms
    generator, critic = everything(gan.generator), everything(gan.critic)
    mined = mine(gan, tiny_target(), **FAST)
    assert same(generator, everything(gan.generator))
    assert same(critic, everything(gan.critic))
    assert mined.gan.generator is gan.generator
    assert not torch.equal(mined.critic.layers[1].weight, gan.critic.layers[1].weight)


def test_stage_one_moves_the_miner_towards_the_target():
    """An oracle: G is the identity from z (4,) to 2×2 images, so the mined mean must go to the target's."""

    class Reshape(torch.nn.Module):
        latent_dim, embedding_dim, image_shape = 4, None, (1, 2, 2)

        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(1.0))

        def forward(self, z):
            return torch.tanh(self.scale * z).unflatten(1, (1, 2, 2))

    torch.manual_seed(0)
    gan = GAN(Reshape(), TinyCritic(2), StandardNormal(4), "reshape")
    target = (torch.tensor([0.6, -0.6, 0.6, -0.6]) + 0.1 * torch.randn(64, 4)).clamp(-1, 1).view(-1, 1, 2, 2)
    options = {
        "steps": 300,
        "miner_lr": 5e-3,
        "critic_lr": 5e-3,
        "device": "cpu",
        "progress": False,
        "batch": 32,
        "critic_steps": 3,
    }
    mined = mine(gan, target, **options)
    gap = (mined.sample(2000).mean(0) - target.mean(0)).abs().max().item()
    before = (Unmined(gan).sample(2000).mean(0) - target.mean(0)).abs().max().item()
    assert gap < 0.15 < before


def test_stage_two_trains_everything_and_leaves_stage_one_alone():
    gan = tiny_gan()
    mined = mine(gan, tiny_target(), **FAST)
    before = everything(gan.generator), everything(mined.miner), everything(mined.critic)
    tuned = finetune(mined, tiny_target(), **FAST)
    assert same(before[0], everything(gan.generator))
    assert same(before[1], everything(mined.miner))
    assert same(before[2], everything(mined.critic))
    weights = zip(gan.generator.parameters(), tuned.gan.generator.parameters(), strict=True)
    assert all(not torch.equal(old, new) for old, new in weights)
    assert not torch.equal(tuned.sample(4), tuned.sample(4, ema=False))


@pytest.mark.parametrize("stage", ["mine", "finetune"])
def test_one_seed_one_result_and_another_seed_another(stage):
    def run(seed):
        mined = mine(tiny_gan(), tiny_target(), seed=seed, **FAST)
        torch.randn(7)  # the global generator must not matter
        return mined if stage == "mine" else finetune(mined, tiny_target(), seed=seed, **FAST)

    first = run(0)
    assert equal(first, run(0))
    assert not equal(first, run(1))


@pytest.mark.parametrize("stage", ["mine", "finetune"])
def test_bfloat16_is_the_same_training_in_coarser_numbers(stage):
    def run(precision):
        options = {**FAST, "precision": precision}
        mined = mine(tiny_gan(), tiny_target(), **options)
        return mined if stage == "mine" else finetune(mined, tiny_target(), **options)

    coarse, fine, start = run("bf16"), run("32"), mine(tiny_gan(), tiny_target(), **{**FAST, "steps": 1})
    assert all(weight.dtype == torch.float32 for weight in outcome(coarse) if weight.is_floating_point())
    weights = [torch.cat([w.flatten() for w in run.miner.parameters()]) for run in (coarse, fine, start)]
    assert 0 < (weights[0] - weights[1]).norm() < 0.5 * (weights[2] - weights[1]).norm()


class Killer:
    """A metric that kills the run at its k-th call, as Ctrl-C would; a number of its own otherwise."""

    def __init__(self, at: int | None):
        self.calls, self.at = 0, at

    def __call__(self, images):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return images.mean().item()


@pytest.mark.parametrize("stage", ["mine", "finetune"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])  # at steps 3, 6, 9, 12; checkpoints at 4, 8, 12
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, stage, at):
    base = None if stage == "mine" else mine(tiny_gan(), tiny_target(), **FAST)

    def run(out, metric):
        if stage == "mine":
            return mine(tiny_gan(), tiny_target(), out=out, metric=metric, **FAST)
        return finetune(base, tiny_target(), out=out, metric=metric, **FAST)

    whole = run(tmp_path / "whole", Killer(None))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", Killer(at))
    resumed = run(tmp_path / "killed", Killer(None))
    assert equal(whole, resumed)
    assert (tmp_path / "whole/state.pt").read_bytes() == (tmp_path / "killed/state.pt").read_bytes()


def test_a_kill_while_saving_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    whole = mine(tiny_gan(), tiny_target(), out=tmp_path / "whole", **FAST)
    real, calls = files.os.replace, []

    def dying(source, target):
        calls.append(target)
        if len(calls) == 3:  # run.json, the checkpoint at step 4, then: power cut at step 8
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(files.os, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        mine(tiny_gan(), tiny_target(), out=tmp_path / "cut", **FAST)
    monkeypatch.undo()
    assert files.read_state(tmp_path / "cut")["step"] == 4
    assert equal(whole, mine(tiny_gan(), tiny_target(), out=tmp_path / "cut", **FAST))


def test_a_finished_run_is_not_run_again(tmp_path):
    first = mine(tiny_gan(), tiny_target(), out=tmp_path / "run", **FAST)
    stamp = (tmp_path / "run/state.pt").stat().st_mtime_ns
    assert equal(first, mine(tiny_gan(), tiny_target(), out=tmp_path / "run", **FAST))
    assert (tmp_path / "run/state.pt").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"steps": 11}, "steps was 12 and is now 11"),
        ({"seed": 1}, "seed"),
        ({"preset": "paper"}, "preset"),
        ({}, "target"),
    ],
)
def test_changed_arguments_are_refused_with_the_reason(tmp_path, change, reason):
    mine(tiny_gan(), tiny_target(), out=tmp_path / "run", **FAST)
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    target = tiny_target() if change else tiny_target(seed=5)
    with pytest.raises(UserError, match=reason):
        mine(tiny_gan(), target, out=tmp_path / "run", **{**FAST, **change})
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}


def test_a_changed_source_is_refused(tmp_path):
    mine(tiny_gan(), tiny_target(), out=tmp_path / "run", **FAST)
    with pytest.raises(UserError, match="source_sha256"):
        mine(tiny_gan(seed=1), tiny_target(), out=tmp_path / "run", **FAST)


@pytest.mark.parametrize("stage", ["mine", "finetune"])
def test_load_gives_back_the_same_sampler(tmp_path, stage):
    mined = mine(tiny_gan(), tiny_target(), out=tmp_path / "mine", **FAST)
    if stage == "finetune":
        mined = finetune(mined, tiny_target(), out=tmp_path / "finetune", **FAST)
    loaded = load(tmp_path / stage, tiny_gan())
    assert equal(mined, loaded)
    assert loaded.record["steps"] == 12


def test_load_refuses_a_run_of_another_version(tmp_path):
    mine(tiny_gan(), tiny_target(), out=tmp_path / "run", **FAST)
    record = files.read_settings(tmp_path / "run")
    del record["ema_decay"]
    (tmp_path / "run/run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="no ema_decay"):
        load(tmp_path / "run", tiny_gan())


def test_stage_two_waits_for_stage_one(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        mine(tiny_gan(), tiny_target(), out=tmp_path / "run", metric=Killer(3), **FAST)
    half = load(tmp_path / "run", tiny_gan())
    with pytest.raises(UserError, match="step 6 of 12"):
        finetune(half, tiny_target(), out=tmp_path / "tuned", **FAST)
    assert not (tmp_path / "tuned").exists()


def test_load_refuses_another_source(tmp_path):
    mine(tiny_gan(), tiny_target(), out=tmp_path / "run", **FAST)
    with pytest.raises(UserError, match="other weights"):
        load(tmp_path / "run", tiny_gan(seed=1))


@pytest.mark.parametrize(("factor", "reason"), [(math.nan, "not finite"), (1e6, "critic exploded")])
def test_divergence_stops_and_keeps_the_last_good_checkpoint(tmp_path, factor, reason):
    gan, forward = tiny_gan(), {"n": 0}

    class Poisoned(type(gan.critic)):
        def forward(self, x):
            forward["n"] += 1
            return super().forward(x) * (factor if forward["n"] > 20 else 1)

    gan.critic.__class__ = Poisoned
    with pytest.raises(Diverged, match=reason):
        mine(gan, tiny_target(), out=tmp_path / "run", **FAST)
    state = files.read_state(tmp_path / "run")
    assert state["step"] == 4
    assert all(weight.isfinite().all() for weight in state["critic"].values())


def test_an_exploding_critic_stops():
    with pytest.raises(Diverged, match=r"critic exploded|not finite"):
        mine(tiny_gan(), tiny_target(), penalty=0.0, critic_lr=50.0, **FAST)


def test_training_and_sampling_with_one_seed_share_no_draws():
    """Seeded alike, u would be the very numbers of the first layer, and its length behind it off by a tenth."""
    miner = Miner((128, 128, 128), rng=stream("mine", 0))
    u = torch.randn(128, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert miner(u).std().item() == pytest.approx(1, abs=0.05)
        assert Miner((128, 128, 128), rng=torch.Generator().manual_seed(0))(u).std().item() > 1.1


def test_stage_two_goes_on_with_the_loss_and_the_miners_of_stage_one():
    mined = mine(tiny_gan(), tiny_target(), loss="hinge", spectral_norm=True, activation="tanh", **FAST)
    tuned = finetune(mined, tiny_target(), **FAST)
    assert tuned.record["loss"] == "hinge"
    assert tuned.record["miners"] == [
        [{"sizes": [4, 4, 4], "activation": "tanh", "spectral_norm": True, "residual": False, "shell": False}]
    ]
    assert finetune(mined, tiny_target(), loss="logistic", **FAST).record["loss"] == "logistic"


def test_the_average_takes_the_decay_that_was_asked_for():
    mined = mine(tiny_gan(), tiny_target(), ema_decay=0.0, **FAST)
    assert torch.equal(mined.sample(4, ema=True), mined.sample(4, ema=False))


def test_the_paper_preset_is_the_supplement_to_the_letter():
    settings = resolve(Mining, "paper", {})
    assert (settings.miner_lr, settings.critic_lr, settings.betas, settings.batch) == (4e-4, 4e-4, (0.5, 0.999), 64)
    mined = mine(tiny_gan(), tiny_target(), preset="paper", **FAST)
    assert mined.miner.sizes == (4, 4, 4)
    assert mined.miner.init == "paper"


def test_the_critic_learns_from_every_target_image_and_only_from_them():
    """Target images lie above 0 and the source's below, so that what the critic sees tells where it comes from."""

    seen = []

    class Watching(TinyCritic):
        def forward(self, x):
            seen.append(x.detach().clone())
            return super().forward(x)

    class Dark(torch.nn.Module):
        latent_dim, embedding_dim, image_shape = 4, None, (1, 6, 6)

        def __init__(self):
            super().__init__()
            self.map = torch.nn.Linear(4, 36)

        def forward(self, z):
            return -torch.sigmoid(self.map(z)).view(-1, 1, 6, 6)

    images = tiny_target().abs().clamp(min=0.1)
    gan = GAN(Dark(), Watching(), StandardNormal(4), "dark")
    with pytest.warns(UserWarning, match="no value below 0"):
        mine(gan, images, loss="hinge", **FAST)
    rows = torch.cat(seen[3:])  # three calls try the critic
    bright = {bytes(row.numpy().tobytes()) for row in rows if row.min() > 0}
    assert bright == {bytes(row.numpy().tobytes()) for row in images}


@pytest.mark.parametrize(
    "options",
    [
        {"hidden": (8,)}, {"input_dim": 3}, {"activation": "tanh"}, {"init": "paper"}, {"spectral_norm": True},
        {"critic_from": "fresh"}, {"hidden": (8, 5), "activation": "relu+pixel_norm", "input_dim": 6},
    ],
)  # fmt: skip
def test_what_is_loaded_samples_as_what_was_returned_and_stage_two_refuses_what_is_settled(tmp_path, options):
    mined = mine(tiny_gan(), tiny_target(), out=tmp_path / "one", **FAST, **options)
    tuned = finetune(mined, tiny_target(), out=tmp_path / "two", **FAST)
    for run, result in (("one", mined), ("two", tuned)):
        assert torch.equal(load(tmp_path / run, tiny_gan()).sample(4), result.sample(4))
    assert {name: mined.record[name] for name in options} == options
    assert tuned.record["miners"] == mined.record["miners"]
    with pytest.raises(UserError, match=f"stage one: leave out {', '.join(sorted(options))}"):
        finetune(mine(tiny_gan(), tiny_target(), **FAST), tiny_target(), out=tmp_path / "three", **FAST, **options)
    assert not (tmp_path / "three").exists()


def test_weights_are_looked_at_before_they_are_saved(tmp_path):
    """The first step's losses are finite still; its update is not."""
    with pytest.raises(Diverged, match="weights of miners are not finite"):
        mine(tiny_gan(), tiny_target(), out=tmp_path / "run", **{**FAST, "save_every": 1, "miner_lr": 1e39})
    assert not (tmp_path / "run/state.pt").exists()


def nan_image():
    images = tiny_target()
    images[3, 0, 2, 2] = math.nan
    return images


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (tiny_target(1), {}, "at least 2 images"),
        (tiny_target(0), {}, "at least 2 images"),
        (tiny_target().repeat(1, 3, 1, 1), {}, r"\(3, 6, 6\)"),
        (torch.zeros(4, 1, 7, 6), {}, r"\(1, 7, 6\)"),
        (tiny_target()[0], {}, "tensor of images"),
        (tiny_target().long(), {}, "uint8, or floats"),
        (tiny_target() * 255, {}, "0…255"),
        (tiny_target().sign() * 1.01, {}, r"from -1\.01 to 1\.01"),
        (tiny_target(), {"betas": 3}, "betas must be two numbers"),
        (tiny_target(), {"hidden": 5}, "hidden must be a list"),
        (tiny_target(), {"seed": 2**63}, "seed must be a whole number below"),
        (tiny_target(), {"sample_average": "no"}, "sample_average must be True or False"),
        (nan_image(), {}, "NaN"),
        (tiny_target(), {"steps": -1}, "steps"),
        (tiny_target(), {"steps": 0}, "steps"),
        (tiny_target(), {"steps": 1.5}, "steps"),
        (tiny_target(), {"seed": -1}, "seed"),
        (tiny_target(), {"miner_lr": math.nan}, "miner_lr"),
        (tiny_target(), {"penalty": -1}, "penalty"),
        (tiny_target(), {"loss": "wasserstein"}, "loss must be one of wgan-gp, hinge, logistic, logistic-r1"),
        (tiny_target(), {"spectral_norm": 1}, "spectral_norm must be True or False"),
        (tiny_target(), {"activation": "sine"}, "activation must be one of relu, relu[+]pixel_norm"),
        (tiny_target(), {"precision": "16"}, "precision must be one of auto, 32, bf16"),
        (tiny_target(), {"betas": (0.5, 1.0)}, "betas"),
        (tiny_target(), {"hidden": (8, 0)}, "hidden"),
        (tiny_target(), {"ema_decay": 1.0}, "ema_decay"),
        (tiny_target(), {"input_dim": 0}, "input_dim"),
        (tiny_target(), {"preset": "best"}, "preset"),
        (tiny_target(), {"init": "zero"}, "init"),
        (tiny_target(), {"speed": 2}, "speed"),
        (tiny_target(), {"device": "tpu"}, "device"),
    ],
)
def test_invalid_input_leaves_nothing_behind(tmp_path, target, options, message):
    with pytest.raises(UserError, match=message) as caught:
        mine(tiny_gan(), target, out=tmp_path / "a/b", **{**FAST, **options})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_source_with_a_wrong_critic_is_refused(tmp_path):
    gan = tiny_gan()
    for critic, message in [(TinyCritic(5), "cannot judge"), (torch.nn.Conv2d(1, 1, 3), "scores")]:
        with pytest.raises(UserError, match=message):
            mine(GAN(gan.generator, critic, gan.prior, "tiny"), tiny_target(), out=tmp_path / "run", **FAST)
    assert list(tmp_path.iterdir()) == []


def test_a_source_without_a_critic_gets_a_fresh_one_of_the_shape_of_its_images(tmp_path):
    bare = GAN(tiny_gan().generator, None, StandardNormal(4), "bare")
    mined = mine(bare, tiny_target(), out=tmp_path / "run", **FAST)
    assert isinstance(mined.critic, PlainCritic)
    assert equal(mined, mine(bare, tiny_target(), **FAST))
    assert not equal(mined, mine(bare, tiny_target(), **FAST, seed=1))
    loaded = load(tmp_path / "run", bare)
    assert torch.equal(loaded.critic(tiny_target()), mined.critic(tiny_target()))
    assert finetune(loaded, tiny_target(), **FAST).sample(2).shape == (2, 1, 6, 6)


def test_a_few_shot_target_is_mined_by_its_training_images_only():
    images = tiny_target(12)
    held_out = torch.full((4, 1, 6, 6), math.nan)  # would be refused if it were looked at
    target = FewShot(images, held_out, name="t", digit=None, origin="images", seed=0)
    assert equal(mine(tiny_gan(), target, **FAST), mine(tiny_gan(), images, **FAST))


def test_a_rate_of_stage_two_is_refused_by_stage_one(tmp_path):
    with pytest.raises(UserError, match="stage one trains no generator: leave out generator_lr"):
        mine(tiny_gan(), tiny_target(), generator_lr=1e-3, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
