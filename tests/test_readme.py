"""The README's code runs as it stands, one block after the other, with fewer steps and samples; its commands parse."""

import re
import shlex
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_stranger import DCGAN, Discriminator

import minegan_lite as ml
from minegan_lite import cli, published
from minegan_lite.data import packages

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition(" #")[0].strip()
    for block in re.findall(r"^```bash\n(.*?)^```", README, re.M | re.S)
    for line in block.splitlines()
    if line.startswith("minegan-lite ")
]


def test_the_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for i in range(10):
        Image.effect_noise((40, 32), 50 + i).convert("RGB").save(f"photos/{i}.png")
    monkeypatch.setattr(ml, "evaluate", partial(ml.evaluate, n=504))
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
    assert len(blocks) == 4
    (file,) = published.TABLE["celeba-dcgan-64"].files
    if not packages.place(file["package"], file["version"], file["file"]).is_file():  # nothing else needs a network
        blocks = [block for block in blocks if "celeba-dcgan-64" not in block]
    own = {"generator": DCGAN(nz=100), "critic": Discriminator()}
    for block in blocks:
        code, count = re.subn(r"steps=\d+", "steps=2, progress=False, device='cpu'", block)
        assert count == 1
        exec(code, own)
        if "save" in code:
            saved = ml.load("nines.safetensors")
            torch.testing.assert_close(saved.sample(2), own["mined"].sample(2), atol=0.02, rtol=0)
            (size,) = re.findall(r"the miner alone, (\d+) KB", code)
            assert (tmp_path / "nines.safetensors").stat().st_size == pytest.approx(1000 * int(size), abs=1000)
    assert "classifier_error" in capsys.readouterr().out
    assert list(own["mined"].probabilities) == ["mnist-only-06", "mnist-only-17"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_parses(command):
    cli.build_parser().parse_args(shlex.split(command)[1:])


def test_there_are_commands():
    assert len(COMMANDS) > 7
