"""`inspect` and `sample --checkpoint` as a user types them: what works, and what is refused in one line."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from minegan_lite import checkpoints, classes_of, cli, config, in_style_space, truncated
from minegan_lite.gan import in_class_space
from tests.checkpoints.files import FILES
from tests.checkpoints.test_loading import Hostile
from tests.checkpoints.test_studiogan import critic_state
from tests.test_cli import refused


@pytest.fixture
def file(tmp_path):
    """Writes a tiny file of a layout, and gives its path."""

    def write(name, **changes):
        path, state = tmp_path / f"{name}.{'npz' if name == 'sngan-chainer' else 'pth'}", FILES[name]() | changes
        if path.suffix == ".npz":
            np.savez(path, **{key: x.numpy() for key, x in state.items()})
        else:
            torch.save(state, path)
        return path

    return write


FAMILIES = {
    "biggan-deep-hf": "biggan", "biggan-pytorch": "biggan", "biggan-studiogan": "biggan",
    "dcgan": "logistic", "mobilestylegan-openvino": "stylegan", "pgan-zoo": "progan", "progan-genforce": "progan",
    "sngan-chainer": "sngan", "sngan-mimicry": "sngan", "sngan-studiogan": "sngan",
    "stylegan2-ada": "stylegan", "stylegan2-rosinality": "stylegan", "stylegan-rosinality": "stylegan",
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_checkpoints_gan_says_its_family_in_every_view(name):
    gan = checkpoints.load(FILES[name]())
    views = [gan]
    if gan.generator.embedding_dim is not None:
        views += [in_class_space(gan), *classes_of(gan)[:1]]
    if FAMILIES[name] == "stylegan":
        views += [in_style_space(gan), in_style_space(gan, per_layer=True), truncated(gan, 0.7)]
    assert {view.family for view in views} == {FAMILIES[name]}
    assert FAMILIES[name] in config.FAMILIES


@pytest.mark.parametrize("name", FILES)
def test_every_layout_is_inspected_and_sampled(file, capsys, name):
    path = file(name)
    assert cli.main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert cli.main(["inspect", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["layout"] == name
    assert text.strip() == checkpoints.format_description(told)
    assert cli.main(["sample", "--checkpoint", str(path), "--n", "5", "--columns", "3"]) == 0
    picture = path.with_name(path.name + ".png")
    assert capsys.readouterr().out.strip() == str(picture)
    channels, height, width = told["image_shape"]
    with Image.open(picture) as image:
        assert image.size == (2 * (3 * (width + 1) + 1), 2 * (2 * (height + 1) + 1))
        assert image.mode == {1: "L", 3: "RGB"}[channels]


def test_what_is_told_of_a_class_conditional_generator_without_its_critic(file, capsys):
    path = file("biggan-studiogan")
    assert cli.main(["inspect", str(path)]) == 0
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    lines = {name: value.strip() for name, value in lines.items()}
    assert lines["layout"] == "biggan-studiogan, of https://github.com/POSTECH-CVLab/PyTorch-StudioGAN"
    assert lines["images"] == "16×16 pixels, 3 channels"
    assert lines["latent"] == "9 numbers"
    assert lines["critic"].startswith("none here (of this layout: a file of its own")
    assert lines["code licence"] == "MIT, parts NVIDIA's"
    torch.save(critic_state(), path.with_name("D.pth"))
    assert cli.main(["inspect", str(path), "--critic", str(path.with_name("D.pth")), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["critic_parameters"] > 0


def pixels(path, *options):
    out = path.with_name("grid.png")
    assert cli.main(["sample", "--checkpoint", str(path), "--n", "4", "--out", str(out), *options]) == 0
    with Image.open(out) as image:
        return np.asarray(image)


def test_seed_classes_truncation_and_averages_each_change_the_picture(file):
    deep = file("biggan-deep-hf")
    pictures = [pixels(deep), pixels(deep, "--seed", "1"), pixels(deep, "--classes", "3", "1"),
                pixels(deep, "--classes", "3", "1", "--truncation", "0.4")]  # fmt: skip
    assert np.array_equal(pictures[0], pixels(deep))
    for i, one in enumerate(pictures):
        assert all(not np.array_equal(one, other) for other in pictures[:i])
    both = file("stylegan2-rosinality")
    assert not np.array_equal(pixels(both), pixels(both, "--raw"))
    assert np.array_equal(pixels(both), pixels(both, "--layout", "stylegan2-rosinality"))


def test_the_picture_is_that_of_the_library(file):
    path = file("sngan-mimicry")
    images = checkpoints.sample(checkpoints.load(path), 4)
    expected = ((images[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    side = 2 * images.shape[-1]
    shown = pixels(path)[2 : 2 + side : 2, 2 : 2 + side : 2].astype(int)
    assert np.abs(shown - expected).max() <= 1  # a batch of another size may round to the other side of a half


def test_half_precision_gives_the_same_picture_but_for_rounding(file):
    path = file("sngan-mimicry")
    whole = pixels(path).astype(int)
    torch.save({key: x.half() if x.is_floating_point() else x for key, x in FILES["sngan-mimicry"]().items()}, path)
    assert 0 < np.abs(pixels(path) - whole).max() < 16


def in_both(capsys, path, *words):
    """inspect and sample refuse the file in the same one line, and write no picture."""
    before = sorted(path.parent.iterdir())
    refused(capsys, ["inspect", path], *words)
    refused(capsys, ["inspect", path, "--json"], *words)
    refused(capsys, ["sample", "--checkpoint", path], *words)
    assert sorted(path.parent.iterdir()) == before


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("name", ["sngan-chainer", "stylegan2-rosinality"])
def test_a_truncated_file_is_refused(file, capsys, name, part):
    path = file(name)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    in_both(capsys, path, path.name)


def test_a_hostile_pickle_is_refused_and_not_run(file, capsys, tmp_path):
    mark = tmp_path / "mark"
    path = file("sngan-mimicry", config=Hostile(mark))
    in_both(capsys, path, "nothing in it was run", f"{os.system.__module__}.system")
    path.write_bytes(pickle.dumps({"G_ema": Hostile(mark)}))
    in_both(capsys, path, path.name)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists(), "the pickle is harmless: the test proves nothing"


def test_a_missing_or_misshapen_tensor_is_named(file, capsys):
    in_both(capsys, file("sngan-mimicry", **{"block3.c1.weight": torch.zeros(2, 3)}), "'block3.c1.weight'", "(2, 3)")
    path, state = file("biggan-pytorch"), FILES["biggan-pytorch"]()
    del state["linear.bias"]
    torch.save(state, path)
    in_both(capsys, path, "lacks the tensor 'linear.bias'")


def test_what_is_no_known_checkpoint_is_refused(capsys, tmp_path):
    in_both(capsys, tmp_path / "missing.pth", "cannot be read")
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    in_both(capsys, tmp_path / "resnet.pth", "no known generator layout", "stylegan2-ada")
    (tmp_path / "page.pth").write_text("<!DOCTYPE html>")
    in_both(capsys, tmp_path / "page.pth", "page.pth")


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("name", ["biggan-deep-hf", "sngan-mimicry", "stylegan-rosinality"])
def test_sizes_that_do_not_fit_are_told_in_one_line(capsys, tmp_path, name):
    def cut(state):
        return {key: cut(x) if isinstance(x, dict) else x[..., :0] if x.ndim else x for key, x in state.items()}

    torch.save(cut(FILES[name]()), tmp_path / "cut.pth")
    in_both(capsys, tmp_path / "cut.pth", "the checkpoint")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--classes", "0"], ["unconditional"]),
        (["--truncation", "0.5"], ["no truncation"]),
        (["--truncation", "2"], ["at most 1"]),
        (["--truncation", "much"], ["--truncation"]),
        (["--n", "0"], ["at least 1"]),
        (["--columns", "0"], ["--columns"]),
        (["--layout", "sngan"], ["unknown layout 'sngan'"]),
        (["--out", "nowhere/grid.png"], ["cannot write"]),
        (["run"], ["--checkpoint"]),
    ],
)
def test_bad_options_are_refused_in_one_line(file, capsys, options, words):
    path = file("sngan-mimicry")
    refused(capsys, ["sample", "--checkpoint", path, *options], *words)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("option", [["--layout", "sngan-mimicry"], ["--classes", "3"], ["--truncation", "0.5"]])
def test_a_run_does_not_take_what_is_a_checkpoints(capsys, tmp_path, option):
    refused(capsys, ["sample", tmp_path, *option], option[0], "--checkpoint FILE")


def test_a_run_or_a_checkpoint_must_be_given(capsys):
    refused(capsys, ["sample"], "RUN", "--checkpoint")
    refused(capsys, ["inspect"], "FILE")


def test_help_teaches(capsys):
    for command, words in (("inspect", [*FILES, "--critic"]), ("sample", ["--truncation", "--classes", "runs/nine"])):
        with pytest.raises(SystemExit) as left:
            cli.main([command, "--help"])
        assert left.value.code == 0
        told = capsys.readouterr().out
        assert all(word in told for word in words)
