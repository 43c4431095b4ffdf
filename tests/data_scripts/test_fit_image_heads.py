"""fit_image_heads.py on a tiny generator in OpenVINO's files: what is fitted, kept and written."""

import fit_image_heads
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from minegan_lite import checkpoints
from minegan_lite.networks.mobile_stylegan import Cut, cut
from tests.checkpoints import openvino_files
from tests.checkpoints.test_mobilestylegan_openvino import generator_state
from tests.close import close

N, SIDES = 8, (4, 8)


@pytest.fixture
def generator():
    return checkpoints.load(generator_state()).generator


def test_targets_are_averages_of_areas_and_drawn_once(generator, tmp_path):
    first = fit_image_heads.targets(generator, 2, tmp_path, SIDES)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(kept) == ["0000.safetensors", "0001.safetensors"]
    (tmp_path / "0001.safetensors").unlink()
    (tmp_path / "0000.safetensors").write_bytes(kept["0001.safetensors"])  # what is there is not drawn again
    images = fit_image_heads.targets(generator, 3, tmp_path, SIDES)
    assert (tmp_path / "0001.safetensors").read_bytes() == kept["0001.safetensors"]
    for side in SIDES:
        assert images[side].shape == (3, 3, side, side)
        assert torch.equal(images[side][0], first[side][1])
        assert torch.equal(images[side][1], first[side][1])
        with torch.no_grad():
            whole = generator(torch.cat([fit_image_heads.latent(generator, i) for i in (0, 1)]))
        block = 32 // side
        means = whole.unflatten(3, (side, block)).unflatten(2, (side, block)).mean((3, 5))
        close(first[side], means, block**2, 500)


@pytest.mark.parametrize("side", SIDES)
def test_the_head_is_the_least_squares_of_all_but_the_held_out(generator, tmp_path, side):
    images = fit_image_heads.targets(generator, N, tmp_path, SIDES)[side]
    head, share = fit_image_heads.fit(generator, side, images)
    z = torch.cat([fit_image_heads.latent(generator, i) for i in range(N)])
    with torch.no_grad():
        features = Cut(generator, side, torch.nn.Identity())(z)
    fitted = [0, 1, 2, 4, 5, 6]
    rows = features[fitted].double().movedim(1, 3).flatten(0, 2)
    rows = torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
    penalty = (fit_image_heads.RIDGE * rows.square().sum(0)).sqrt()
    penalty[-1] = 0
    targets = torch.cat([images[fitted].double().movedim(1, 3).flatten(0, 2), torch.zeros(len(penalty), 3)])
    weight = torch.linalg.lstsq(torch.cat([rows, penalty.diag()]), targets).solution.T
    ours = torch.cat([head.weight.flatten(1), head.bias[:, None]], dim=1)
    assert (ours - weight).abs().max() <= 2e-3 * weight.abs().max()  # fp16 has 11 bits
    assert torch.equal(ours, ours.half().float())
    drawn = F.conv2d(features, head.weight, head.bias)
    for name, which in (("fitted", fitted), ("held out", [3, 7])):
        around = images[which] - images[which].mean((0, 2, 3), keepdim=True)
        rest = images[which] - drawn[which]
        assert share[name] == pytest.approx(1 - (rest**2).sum().item() / (around**2).sum().item(), abs=1e-4)
    images[[3, 7]] += 1 + torch.rand(2, 3, side, side)
    other, changed = fit_image_heads.fit(generator, side, images)
    assert torch.equal(other.weight, head.weight)
    assert changed["held out"] < share["held out"]
    assert changed["fitted"] == share["fitted"]


def test_the_share_of_variance_that_is_drawn():
    images = torch.rand(4, 3, 5, 5)
    means = images.mean((0, 2, 3), keepdim=True).expand_as(images)
    assert fit_image_heads.r2(images, images) == 1
    assert fit_image_heads.r2(means, images) == pytest.approx(0, abs=1e-6)
    assert fit_image_heads.r2((images + means) / 2, images) == pytest.approx(0.75, abs=1e-5)


def test_the_command_writes_heads_that_a_cut_takes_and_cards_with_their_terms(tmp_path, capsys):
    (tmp_path / "files").mkdir()
    path, out = openvino_files.write(tmp_path / "files", generator_state()), tmp_path / "out"
    out.mkdir()
    arguments = [str(path), "--samples", str(N), "--sides", "4", "8", "--cache", str(tmp_path / "cache")]
    assert fit_image_heads.main(arguments) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said] == ["4×4", "8×8"]
    assert fit_image_heads.main([*arguments, "--export", str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == [said[0], f"{out}/ffhq-head-4.safetensors", said[1],
                                                     f"{out}/ffhq-head-8.safetensors"]  # fmt: skip
    assert sorted(one.name for one in out.iterdir()) == [
        f"ffhq-head-{side}.{suffix}" for side in (4, 8) for suffix in ("md", "safetensors")
    ]
    for side, line in zip((4, 8), said, strict=True):
        weights = out / f"ffhq-head-{side}.safetensors"
        assert {x.dtype for x in load_file(weights).values()} == {torch.float16}
        small = cut(checkpoints.load(path), side, weights)
        assert small.sample(2).shape == (2, 3, side, side)
        text = weights.with_suffix(".md").read_text()
        share = line.partition("R² ")[2].split()[0]
        assert f"**{share}**" in text
        assert "not for commercial use" in text
        assert "6 samples of the whole generator" in text


def test_what_stops_the_command_is_one_line(tmp_path, capsys):
    path = openvino_files.write(tmp_path, generator_state())
    cases = {
        ("--samples", "3"): "--samples is at least 4, of which one is held out",
        ("--samples", "4", "--sides", "16"): "a generator is cut at 4, 8 pixels, not at 16",
    }
    for options, words in cases.items():
        assert fit_image_heads.main([str(path), *options, "--cache", str(tmp_path / "cache")]) == 2
        assert words in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "cache").exists(), "it is said before anything is drawn"
    path.with_suffix(".bin").unlink()
    assert fit_image_heads.main([str(path)]) == 2
    assert "there is no file" in capsys.readouterr().err.splitlines()[-1]
