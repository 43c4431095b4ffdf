"""The protocol of the chapters on faces, rehearsed on a handful of coloured squares in the place of photographs."""

import csv
import io
import zipfile

import numpy as np
import pytest
import reference_faces as faces
import torch
from PIL import Image

from minegan_lite import published
from minegan_lite.chapters import ledger
from minegan_lite.data import packages
from minegan_lite.metrics.pictures import WEIGHTS

NEEDED = [WEIGHTS, *published.TABLE["celeba-dcgan-64"].files]
there = all(packages.place(one["package"], one["version"], one["file"]).is_file() for one in NEEDED)


@pytest.fixture
def squares(tmp_path, monkeypatch):
    """Zips in the shape of the real ones: squares of random colours, women and men, seniors."""
    rng = np.random.default_rng(0)

    def written(name: str, folder: str, rows: list[dict[str, str]]) -> None:
        buffer = io.StringIO()
        table = csv.DictWriter(buffer, ["file", *rows[0]])
        table.writeheader()
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for i, row in enumerate(rows):
                picture = io.BytesIO()
                small = Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8))
                small.resize((64, 64)).save(picture, "JPEG")
                archive.writestr(f"{folder}/{i:06}.jpg", picture.getvalue())
                table.writerow({"file": f"{folder}/{i:06}.jpg", **row})
            archive.writestr("labels.csv", buffer.getvalue())

    written("celeba_64.zip", "celeba", [{"Male": str(i % 2)} for i in range(120)])
    groups = [("women", "men", "seniors")[i % 3] for i in range(120)]
    written("utkface_targets_64.zip", "utk", [{"group": group} for group in groups])
    monkeypatch.setenv("MINEGAN_DATA", str(tmp_path))
    monkeypatch.setattr(faces, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(faces, "JUDGED", 40)
    monkeypatch.setattr(faces, "DRAWS", 3)
    few = {name: target | {"held_out": 60} for name, target in faces.TARGETS.items()}
    monkeypatch.setattr(faces, "TARGETS", few)
    faces.pictures.cache_clear()
    faces.of_held_out.cache_clear()
    yield tmp_path
    faces.pictures.cache_clear()
    faces.of_held_out.cache_clear()


def rows_of(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_a_seed_draws_the_target_and_never_from_those_held_out(squares):
    first, again, other = (faces.target_of(faces.WOMEN, 64, 8, seed) for seed in (0, 0, 1))
    assert first.train.shape == (8, 3, 64, 64)
    assert torch.equal(first.train, again.train)
    assert not torch.equal(first.train, other.train)
    assert torch.equal(first.held_out, other.held_out)
    everything = faces.target_of(faces.WOMEN, 64, 1000, 0)
    assert len(everything.train) + len(everything.held_out) == 60  # the women among 120
    assert not rows_of(everything.train) & rows_of(everything.held_out)
    assert rows_of(first.train) <= rows_of(everything.train)


def test_every_run_has_a_name_of_its_own():
    names = [f"{experiment}/{run}" for experiment in faces.EXPERIMENTS for run in faces.runs(experiment)]
    assert len(names) == len(set(names)) == 10 + 15 + 10 + 2 + 4
    assert "faces/celeba-dcgan-64-tight-utkface-seniors-unmined" in names
    assert "faces-sizes/minegan-nofinetune-25" in names


def test_the_unmined_are_the_source_and_the_mined_are_mined(squares, monkeypatch):
    if not there:
        pytest.skip("data_scripts/get_weights.py celeba-dcgan-64 lite0 brings what this draws and judges with")
    monkeypatch.setenv("MINEGAN_RESULTS", str(squares / "results"))
    monkeypatch.setattr(faces, "BATCH", 4)
    monkeypatch.setitem(faces.COMMON, "batch", 4)
    run = f"{faces.TIGHT}-{faces.SENIORS}"
    call = {"seed": 90, "steps": 2, "device": "cpu", "out": squares / "runs", "mine_only": False}
    for kind in ("", "-unmined"):
        told = faces.reference("faces", run + kind, **call)
        assert told.startswith(f"faces/{run}{kind}/seed90: KID ")
    mined, source = (ledger.read(f"faces/{run}{kind}/seed90") for kind in ("", "-unmined"))
    assert mined["settings"]["sources"] == [faces.TIGHT] == source["settings"]["sources"]
    assert mined["settings"]["steps"] == 2
    assert mined["numbers"]["latent_length"]["mean"] == pytest.approx(10, abs=0.5)
    assert "latent_length" not in source["numbers"]
    for numbers in (mined["numbers"], source["numbers"]):
        assert numbers["evaluation"]["kid"]["distance"] == "KID (Lite0)"
        assert set(numbers["shares"]) == {"woman", "senior", "smiling"}
        assert all(0 <= share["value"] <= 1 for share in numbers["shares"].values())
        assert numbers["kmmd"]["value"] > numbers["kmmd"]["floor"]
    assert (squares / "runs" / "miners" / f"{run}-seed90.safetensors").is_file()
    assert "recorded before" in faces.reference("faces", run, **call)


@pytest.mark.parametrize(
    ("target", "critic"), [(faces.WOMEN, "other"), (faces.SENIORS, "other"), (faces.WOMEN, "fresh")]
)
def test_mining_starts_from_the_critic_that_the_run_names(squares, monkeypatch, target, critic):
    if not there or not all(
        packages.place(one["package"], one["version"], one["file"]).is_file()
        for one in published.TABLE["digiface-dcgan-64"].files
    ):
        pytest.skip("data_scripts/get_weights.py celeba-dcgan-64 digiface-dcgan-64 brings what is mined")
    monkeypatch.setitem(faces.COMMON, "batch", 4)
    mined, _ = faces.mined_of("faces-critic", f"{target}-{critic}", 0, 1, squares / "run", "cpu")
    start = faces.load_gan("digiface-dcgan-64").critic if critic == "other" else None
    ours = dict(mined.critic.named_parameters())
    assert mined.record["critic_from"] == ("fresh" if critic == "fresh" else 0)
    if start is not None:  # one step of Adam moves no weight by more than its rate
        theirs = start.named_parameters(prefix="critic" if target == faces.SENIORS else "")
        assert all((ours[name] - weight).abs().max() <= 1.01e-3 for name, weight in theirs)
