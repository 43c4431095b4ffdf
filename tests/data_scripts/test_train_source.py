"""The trainer of natural-image sources: what a YAML says, how it grows, and that an interruption leaves no trace."""

import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import source_trainer
import torch
import train_source
import yaml
from augment import KINDS, augmented
from conftest import ENVIRONMENT, SCRIPTS
from pictures import picture, zipped
from PIL import Image
from ship_source import TERMS, copies
from source_pictures import Pictures, load_pictures
from source_trainer import LOSSES, PENALTIES, Trainer, fade_down, lod_at, networks, penalty, steps_of
from torch import nn
from torch.nn import functional as F
from train_source import SOURCES, main, read_spec

from minegan_lite import zoo
from minegan_lite.data import to_signed
from minegan_lite.errors import Diverged, UserError
from minegan_lite.files import read_settings, read_state
from minegan_lite.networks import progan

SPEC = {
    "what": "tiny", "pictures": {"zip": "tiny.zip", "held_out": 4}, "channels": [4, 4, 2], "latent_dim": 4, "batch": 4,
    "stages": [{"side": 8, "steps": 3}, {"side": 16, "fade": 3, "steps": 6}], "augment": list(KINDS),
    "penalty_every": 2,
}  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a labelled zip of twenty pictures, ten of a kind, and a YAML file; MINEGAN_DATA is that folder."""
    files = {f"tiny/{i:02}.png": picture(i, 16, 16) for i in range(20)}
    rows = "".join(f"tiny/{i:02}.png,{'ab'[i % 2]},{'test' if i >= 16 else 'train'}\n" for i in range(20))
    zipped(tmp_path / "tiny.zip", files | {"labels.csv": f"file,kind,split\n{rows}".encode()})
    (tmp_path / "tiny.yml").write_text(yaml.safe_dump(SPEC))
    monkeypatch.setenv("MINEGAN_DATA", str(tmp_path))
    return tmp_path


def written(place, name="other", **changes) -> str:
    (place / f"{name}.yml").write_text(yaml.safe_dump(SPEC | changes))
    return str(place / f"{name}.yml")


def run(place, *arguments: str, out: str = "out") -> int:
    return main([*arguments, "--out", str(place / out), "--save-every", "2", "--sheet-every", "3"])


def refusal(function, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what a YAML says -------------------------------------------------------------------------------------------


def test_the_sources_beside_the_script_are_whole():
    files = sorted(SOURCES.glob("*.yml"))
    assert len(files) >= 6
    specs = {file.stem: read_spec(file.stem) for file in files}
    for spec in specs.values():
        generator, critic = networks(spec)
        side = spec["stages"][-1]["side"]
        assert generator.image_shape == critic.image_shape == (3, side, side)
        assert spec["name"].endswith(f"-{side}")
        if spec["start"]:  # its networks must fit
            first = specs[spec["start"]]
            assert (first["channels"], first["latent_dim"]) == (spec["channels"], spec["latent_dim"])
            assert (
                first["pictures"]["zip"] == spec["pictures"]["zip"]
            )  # so that what is held out is held out there, too
            assert first["pictures"]["held_out"] == spec["pictures"]["held_out"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"chanels": [4]}, "says chanels, which no source has"),
        ({"loss": "hinge"}, "loss is one of logistic"),
        ({"penalty": "r2"}, "penalty of r1"),
        ({"augment": ["blur"]}, "augment any of colour"),
        ({"channels": [4, 4]}, r"up to 8, as many channels need, got \[8, 16\]"),
        ({"stages": [{"side": 4, "steps": 1}, {"side": 16, "steps": 1}]}, r"double the side .* got \[4, 16\]"),
    ],
)
def test_settings_that_make_no_sense_are_refused(place, changes, says):
    assert re.search(says, refusal(read_spec, written(place, **changes)))


def test_what_is_no_source_is_one_line(place):
    assert "faces-32" in refusal(read_spec, "no-such-source")
    (place / "bad.yml").write_text("a: [")
    assert "cannot be read" in refusal(read_spec, str(place / "bad.yml"))
    (place / "bad.yml").write_text("[]")
    assert "does not say channels, pictures, stages, what" in refusal(read_spec, str(place / "bad.yml"))


def test_a_script_of_its_own_lists_helps_and_refuses(place):
    command = [sys.executable, str(SCRIPTS / "train_source.py")]
    listed = subprocess.run([*command, "--list"], env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=2) for line in listed.splitlines()]
    assert ["faces-32", str(steps_of(read_spec("faces-32"))), "CelebA's faces, 32×32"] in lines
    assert len(lines) == 1 + len(list(SOURCES.glob("*.yml")))
    environment = {key: value for key, value in ENVIRONMENT.items() if key != "MINEGAN_DATA"}
    refused = subprocess.run([*command, "faces-32", "--out", str(place / "o")], env=environment, capture_output=True)
    assert (refused.returncode, refused.stderr.count(b"\n")) == (2, 1)
    assert b"MINEGAN_DATA names no folder: set it to the one that holds celeba_64.zip" in refused.stderr
    assert not (place / "o").exists()


# --- pictures ---------------------------------------------------------------------------------------------------


def test_pictures_are_selected_and_held_out_by_their_labels(place):
    def load(**spec):
        return load_pictures({"zip": "tiny.zip", **spec}, 16, place, place / "cache")

    every = torch.stack([torch.from_numpy(_pixels(picture(i, 16, 16))) for i in range(20)])
    whole = load(held_out={"split": "test"})
    assert torch.equal(whole.train, every[:16])
    assert torch.equal(whole.held_out, every[16:])
    one = load(where={"kind": "a"}, held_out={"split": ["test"]})
    assert torch.equal(one.train, every[0:16:2])
    assert torch.equal(one.held_out, every[16::2])
    assert (one.facts["train_count"], one.facts["held_out_count"]) == (8, 2)
    assert torch.equal(load(where={"kind": ["a", "b"]}, held_out={"split": "test"}).train, whole.train)


def test_sources_of_one_zip_hold_out_the_same(place):
    def load(**where):
        pictures = load_pictures({"zip": "tiny.zip", "held_out": 8, "where": where}, 16, place, place / "cache")
        return [{image.numpy().tobytes() for image in part} for part in pictures[:2]]

    (train, held_out), (train_a, held_out_a), (train_b, held_out_b) = load(), load(kind="a"), load(kind="b")
    assert (len(train), len(held_out)) == (12, 8)
    assert train == train_a | train_b
    assert held_out == held_out_a | held_out_b
    assert held_out.isdisjoint(train)


def test_pictures_that_cannot_be_had_are_one_line(place):
    def says(**spec):
        return refusal(load_pictures, {"zip": "tiny.zip", "held_out": 4, **spec}, 8, place, place / "cache")

    assert "does not exist" in says(zip="other.zip")
    assert "has no column colour: it has file, kind, split" in says(where={"colour": "red"})
    assert "0 pictures to train on" in says(where={"kind": "c"})
    assert "0 to hold out" in says(held_out={"split": "val"})
    zipped(place / "other.zip", {"a.png": picture(0)})
    assert "has no labels.csv" in says(zip="other.zip")
    zipped(place / "third.zip", {"a.png": picture(0), "labels.csv": b"file\nb.png\n"})
    assert "no line for a.png" in says(zip="third.zip")
    zipped(place / "fourth.zip", {"a.png": picture(0), "labels.csv": b"name\nb.png\n"})
    assert "has no column file" in says(zip="fourth.zip")


def _pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1).copy()


# --- growing ----------------------------------------------------------------------------------------------------


def test_the_level_of_detail_falls_stage_by_stage():
    stages = [{"side": 4, "steps": 2}, {"side": 8, "fade": 2, "steps": 3}, {"side": 16, "fade": 4, "steps": 5}]
    spec = {"stages": stages}
    assert steps_of(spec) == 10
    expected = [2, 2, 2, 1.5, 1, 1, 0.75, 0.5, 0.25, 0, 0]
    assert [lod_at(step, spec) for step in range(11)] == pytest.approx(expected, abs=1e-12)


def test_a_stage_begins_where_the_last_one_ended():
    """At the first step of a fade, both networks are what they were at half the resolution."""
    generator, critic = networks(read_spec(str(SOURCES / "faces-32.yml")) | {"channels": [4, 4, 4], "latent_dim": 4})
    z = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    spec = {"stages": [{"side": 8, "steps": 5}, {"side": 16, "fade": 4, "steps": 9}]}
    seen = []
    for step in (4, 5, 6):
        generator.lod = critic.lod = lod_at(step, spec)
        x = generator(z)
        seen.append((x, critic(x)))
    assert torch.equal(seen[0][0], seen[1][0])
    assert torch.equal(seen[0][1], seen[1][1])
    assert not torch.equal(seen[1][0], seen[2][0])


def test_reals_are_no_sharper_than_what_the_generator_can_draw():
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert fade_down(x, 0) is x
    assert fade_down(x, 1.0) is x  # the critic averages by itself
    for lod, side in ((0.25, 2), (1.25, 4)):
        coarse = torch.empty_like(x)
        for i in range(0, 16, side):
            for j in range(0, 16, side):
                block = x[:, :, i : i + side, j : j + side]
                coarse[:, :, i : i + side, j : j + side] = block.mean((2, 3), keepdim=True)
        torch.testing.assert_close(fade_down(x, lod), 0.75 * x + 0.25 * coarse, atol=1e-6, rtol=0)


# --- losses -----------------------------------------------------------------------------------------------------


def test_the_relativistic_loss_compares_pairs():
    fake, real = torch.tensor([[1.0], [-2.0]]), torch.tensor([[0.5], [3.0]])
    critic, generator = LOSSES["relativistic"]
    by_hand = (np.log1p(np.exp(1.0 - 0.5)) + np.log1p(np.exp(-2.0 - 3.0))) / 2
    assert critic(fake, real).item() == pytest.approx(by_hand, rel=1e-6)
    by_hand = (np.log1p(np.exp(0.5 - 1.0)) + np.log1p(np.exp(3.0 + 2.0))) / 2
    assert generator(fake, real).item() == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize("lod", [0, 1, 2])
def test_the_penalty_is_by_the_pixels_that_the_critic_sees(lod):
    """A critic that grows later is penalised as one that is that small: the gradient by its own, coarse pixels."""
    torch.manual_seed(0)
    critic = progan.Critic([4, 4, 4], lod=lod)
    real, fake = (torch.randn(3, 3, 16 >> lod, 16 >> lod) for _ in range(2))

    def by_hand(x):
        x = x.clone().requires_grad_()
        critic(F.interpolate(x, scale_factor=2**lod)).sum().backward()
        return x.grad.square().flatten(1).sum(1).mean().item() / 2

    fine = [F.interpolate(x, scale_factor=2**lod) for x in (real, fake)]
    rng = torch.Generator().manual_seed(0)
    assert penalty("r1", critic, *fine, rng).item() == pytest.approx(by_hand(real), rel=1e-4)
    assert penalty("r1+r2", critic, *fine, rng).item() == pytest.approx(by_hand(real) + by_hand(fake), rel=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", PENALTIES)
def test_every_loss_with_every_penalty_moves_both_networks(loss, kind):
    trainer = tiny_trainer(loss=loss, penalty=kind, penalty_every=1)
    before = [snapshot(part) for part in (trainer.generator, trainer.critic)]
    assert all(np.isfinite(trainer.step()))
    for part, old in zip((trainer.generator, trainer.critic), before, strict=True):
        changed = {name for name, value in part.state_dict().items() if not torch.equal(value, old[name])}
        assert any(name.startswith("first") or name.startswith("last") for name in changed)
        assert not any(name.startswith("blocks.1.") for name in changed)  # of 16 pixels, which are not there yet


def test_the_penalty_is_lazy_and_as_much_heavier(monkeypatch):
    weights = []

    def counted(kind, critic, real, fake, rng):
        return critic.score.bias.sum() * 0 + probe

    probe = torch.zeros((), requires_grad=True)
    monkeypatch.setattr(source_trainer, "penalty", counted)
    trainer = tiny_trainer(gamma=0.5, penalty_every=3)
    for _ in range(6):
        probe.grad = None
        trainer.step()
        weights.append(0.0 if probe.grad is None else probe.grad.item())
    assert weights == [1.5, 0, 0, 1.5, 0, 0]


def test_reals_are_training_pictures_mirrored_or_not():
    for flip in (True, False):
        trainer, seen = tiny_trainer(flip=flip), set()
        for _ in range(10):
            for image in trainer.reals():
                found = [
                    (i, mirrored)
                    for i, own in enumerate(to_signed(trainer.images))
                    for mirrored in (False, True)
                    if torch.equal(image, own.flip(2) if mirrored else own)
                ]
                assert len(found) == 1
                seen |= set(found)
        assert {i for i, _ in seen} == set(range(10))
        assert {mirrored for _, mirrored in seen} == ({False, True} if flip else {False})


@pytest.mark.parametrize(("loss", "times"), [("logistic", 3), ("relativistic", 4)])
def test_all_that_the_critic_scores_is_augmented(monkeypatch, loss, times):
    """Fakes and reals in its own step, and in the generator's; every draw is another."""
    drawn, scored = [], []

    def kept(x, kinds, rng):
        drawn.append(augmented(x, kinds, rng))
        return drawn[-1]

    def heard(critic, args):
        scored.append(args[0])

    monkeypatch.setattr(source_trainer, "augmented", kept)
    trainer = tiny_trainer(loss=loss, penalty_every=2)
    trainer.done = 1  # a step without penalty
    trainer.critic.register_forward_pre_hook(heard)
    trainer.step()
    assert len(drawn) == times
    assert torch.equal(torch.cat(scored), torch.cat(drawn))


def test_a_training_that_leaves_the_finite_numbers_stops():
    trainer = tiny_trainer()
    nn.init.constant_(trainer.critic.score.bias, float("inf"))
    with pytest.raises(Diverged, match="lower lr, or raise gamma"):
        trainer.step()


def tiny_trainer(**changes) -> Trainer:
    images = torch.randint(0, 256, (10, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    spec = read_spec(str(SOURCES / "faces-32.yml")) | {"name": "tiny"} | SPEC | changes
    return Trainer(spec, images)


def snapshot(part: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in part.state_dict().items()}


def test_the_average_begins_anew_with_new_layers():
    """At the first step of each stage, and at the first that shows the new layers alone."""
    trainer, anew = tiny_trainer(), []
    for step in range(9):
        trainer.step()
        average, own = trainer.average.module.state_dict(), trainer.generator.state_dict()
        if all(torch.equal(average[key], value) for key, value in own.items()):
            anew.append(step)
    assert anew == [0, 3, 6]


# --- runs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [[3], [1, 5], [4, 8]])
def test_stopped_and_resumed_is_bit_for_bit_the_uninterrupted_run(place, stops, monkeypatch):
    monkeypatch.setattr(train_source, "LOG_EVERY", 2)
    assert run(place, str(place / "tiny.yml"), out="whole") == 0
    for stop in stops:
        assert run(place, str(place / "tiny.yml"), "--until", str(stop), out="parts") == 0
        assert read_state(place / "parts" / "tiny")["step"] == stop
    assert run(place, str(place / "tiny.yml"), out="parts") == 0
    for file in ("state.pt", "run.json", "samples/step-000009.png"):
        assert (place / "whole" / "tiny" / file).read_bytes() == (place / "parts" / "tiny" / file).read_bytes(), file
    state = read_state(place / "whole" / "tiny")
    assert state["step"] == 9
    assert [entry["step"] for entry in state["history"]] == [2, 4, 6, 8]
    assert (place / "whole" / "tiny" / "sheet.png").exists()


def test_a_finished_run_is_left_alone(place):
    run(place, str(place / "tiny.yml"))
    before = (place / "out" / "tiny" / "state.pt").read_bytes()
    assert run(place, str(place / "tiny.yml")) == 0
    assert (place / "out" / "tiny" / "state.pt").read_bytes() == before


def test_other_settings_do_not_go_on(place, capsys):
    run(place, str(place / "tiny.yml"), "--until", "2")
    written(place, "tiny", lr=1e-4)
    assert run(place, str(place / "tiny.yml")) == 2
    assert "lr was 0.002 and is now 0.0001" in capsys.readouterr().err


def test_a_seed_is_a_run(place):
    states = []
    for name, seed in (("one", 1), ("two", 2)):
        run(place, written(place, name, seed=seed))
        states.append(read_state(place / "out" / name))
    assert not torch.equal(states[0]["generator"]["first.weight"], states[1]["generator"]["first.weight"])


def test_a_source_goes_on_from_another_ones_networks(place, capsys):
    later = written(place, "later", start="tiny", stages=[{"side": 16, "steps": 2}], pictures=SPEC["pictures"])
    assert run(place, later) == 2
    assert "out/tiny does not exist: train tiny first" in capsys.readouterr().err
    run(place, str(place / "tiny.yml"), "--until", "4")
    assert run(place, later) == 2
    assert "is at step 4 of 9: train it to the end first" in capsys.readouterr().err
    assert not (place / "out" / "later").exists()
    run(place, str(place / "tiny.yml"))
    trainer = Trainer(read_spec(later), torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    first = read_state(place / "out" / "tiny")
    trainer.start_from(first)
    for name in ("generator", "critic"):
        own = trainer.parts()[name].state_dict()
        assert all(torch.equal(own[key], value) for key, value in first[name].items())
    assert run(place, later) == 0
    settings, last = read_settings(place / "out" / "later"), read_state(place / "out" / "later")
    assert settings["start"] == "tiny"
    moved = (last["generator"]["first.weight"] - first["generator"]["first.weight"]).abs().max()
    assert 0 < moved < 0.02  # two steps of Adam at 0.002 and less


def test_the_sheet_shows_first_to_last(place):
    run(place, str(place / "tiny.yml"))
    path = place / "out" / "tiny"
    files = sorted((path / "samples").iterdir())
    assert [file.stem for file in files] == ["step-000003", "step-000006", "step-000009"]
    with Image.open(path / "sheet.png") as opened:
        sheet = np.asarray(opened)
    height = (16 + 1) * 2
    assert sheet.shape[0] == 3 * height
    for i, file in enumerate(files):
        with Image.open(file) as opened:
            assert np.array_equal(sheet[i * height : (i + 1) * height], np.asarray(opened.convert("RGB"))[:height])


def test_time_is_counted_over_all_calls(place):
    run(place, str(place / "tiny.yml"), "--until", "4")
    first = json.loads((place / "out" / "tiny" / "time.json").read_text())
    run(place, str(place / "tiny.yml"))
    second = json.loads((place / "out" / "tiny" / "time.json").read_text())
    assert (first["step"], second["step"]) == (4, 9)
    assert second["cpu_seconds"] >= first["cpu_seconds"] >= 0


few = pytest.mark.filterwarnings("ignore:the nearest 1 %")  # of so few pictures


# --- export -----------------------------------------------------------------------------------------------------


@few
def test_an_exported_source_comes_back_from_the_zoo_with_its_card(place):
    """What is loaded draws what the run's average draws, rounded to fp16; the card says where it comes from."""
    tiny = str(place / "tiny.yml")
    assert run(place, tiny) == 0
    assert run(place, tiny, "--export", str(place / "zoo")) == 0
    gan, state = zoo.load("tiny", place / "zoo"), read_state(place / "out" / "tiny")
    assert gan.generator.image_shape == (3, 16, 16)
    for key, value in gan.generator.state_dict().items():
        assert torch.equal(value, state["average"][f"module.{key}"].half().float())
    for key, value in gan.critic.state_dict().items():
        assert torch.equal(value, state["critic"][key].half().float())
    assert (gan.generator.lod, gan.critic.lod, gan.family) == (0, 0, "logistic-r1")
    assert gan.critic(gan.generator(gan.prior(2, torch.Generator().manual_seed(0)))).shape == (2, 1)
    entry = zoo.entries(place / "zoo")["tiny"]
    assert (entry["architecture"], entry["digits"]) == ("progan", [])
    card = (place / "zoo" / "tiny.md").read_text("utf-8")
    for fact in (
        "draws tiny", "channels 4, 4, 2, latent dimension 4", "16 pictures of `tiny.zip`; 4 more",
        "9 steps: 3 at 8×8; 6 at 16×16, the first 3 of them fading in", "colour, translation, cutout", "MIT",
        "train_source.py tiny",
    ):  # fmt: skip
        assert fact in " ".join(card.split()), fact
    assert all(len(line) <= 120 for line in card.splitlines())


def test_what_is_not_finished_is_not_exported(place, capsys):
    assert run(place, str(place / "tiny.yml"), "--export", str(place / "zoo")) == 2
    assert "train tiny first" in capsys.readouterr().err
    run(place, str(place / "tiny.yml"), "--until", "8")
    assert run(place, str(place / "tiny.yml"), "--export", str(place / "zoo")) == 2
    assert "is at step 8 of 9: train it to the end first" in capsys.readouterr().err
    assert not (place / "zoo").exists()


@few
def test_the_card_names_the_start_and_the_selection(place):
    run(place, str(place / "tiny.yml"))
    chosen = SPEC["pictures"] | {"where": {"kind": "a"}}
    later = written(place, "later", start="tiny", stages=[{"side": 16, "steps": 1}], pictures=chosen)
    run(place, later)
    run(place, later, "--export", str(place / "zoo"))
    card = " ".join((place / "zoo" / "later.md").read_text("utf-8").split())
    assert "`tiny.zip` (kind a)" in card
    assert "began as those of `tiny`" in card
    assert "train_source.py tiny later" in card
    assert "those of its start not counted" in card


def test_every_shared_zip_has_its_terms_on_the_card():
    assert {read_spec(file.stem)["pictures"]["zip"] for file in SOURCES.glob("*.yml")} <= TERMS.keys()


@few
def test_copies_of_the_training_pictures_show():
    images = torch.randint(0, 256, (40, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pictures = Pictures(images[:20], images[20:], {})
    own = copies(to_signed(images[:20]), pictures)
    mirrored = copies(to_signed(images[:20]).flip(3), pictures)
    other = copies(to_signed(images[20:]), pictures)
    assert own == mirrored == {"copying": 1.0, "ratio": 0.0, "share": 1.0}
    assert (other["copying"], other["ratio"], other["share"]) == (0.0, 1.0, pytest.approx(0, abs=0.05))
