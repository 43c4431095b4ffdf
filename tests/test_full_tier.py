"""The full tier rehearsed on a CPU: checkpoints in the paper's layouts, a folder as FFHQ comes, twenty steps."""

import csv
from pathlib import Path

import pytest
import torch

import minegan_lite as ml
from minegan_lite import cli
from tests.checkpoints.files import FILES
from tests.checkpoints.test_pgan_zoo import a_file as of_pgan_zoo
from tests.data_scripts.pictures import picture

SCRIPTS = Path(__file__).parents[1] / "data_scripts"
PICTURES = 24


@pytest.fixture
def ffhq_women(tmp_path, monkeypatch):
    """FFHQ's women, prepared by the project's own script from files and labels as their owners name them."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import prepare_images

    source = tmp_path / "images1024x1024"
    source.mkdir()
    for i in range(PICTURES):
        (source / f"{i:05}.png").write_bytes(picture(i, 16, 16))
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image_number", "age_group", "gender", "age_group_confidence", "gender_confidence"])
        rows.writerows([i, "30-39" if i % 4 else "3-6", "female", 0.9, 0.9] for i in range(PICTURES))
    out = tmp_path / "women"
    told = ["ffhq-women", "--source", source, "--labels", tmp_path / "labels.csv", "--out", out, "--size", "16"]
    assert prepare_images.main([str(one) for one in told]) == 0
    return out


@pytest.mark.parametrize("layout", ["pgan-zoo", "progan-genforce"])
def test_from_a_public_layout_to_mined_and_tuned_faces(layout, ffhq_women, tmp_path, capsys):
    torch.save(of_pgan_zoo() if layout == "pgan-zoo" else FILES[layout](), tmp_path / "celebahq.pth")
    gan = ml.load_gan(tmp_path / "celebahq.pth")
    assert gan.family == "progan"
    assert gan.critic is not None
    one, two = tmp_path / "one", tmp_path / "two"
    call = ["--steps", "20", "--device", "cpu", "--precision", "32"]
    source, target = str(tmp_path / "celebahq.pth"), str(ffhq_women)
    assert cli.main(["mine", "--source", source, "--target", target, "--out", str(one), *call]) == 0
    assert cli.main(["finetune", str(one), "--out", str(two), *call]) == 0
    told = capsys.readouterr()
    assert "preset paper-progan" in told.out + told.err
    mined, tuned = ml.load(one), ml.load(two)
    assert (mined.record["preset"], mined.record["images"]) == ("paper-progan", 14)  # four fifths of the 18 women
    assert [entry["step"] for entry in tuned.history][-1] == 20
    assert torch.equal(mined.gan.sample(2), gan.sample(2)), "stage one leaves the generator as it was"
    assert not torch.equal(tuned.sample(2), mined.sample(2))
    for run in (one, two):
        assert (run / "progress.png").is_file()
    assert cli.main(["sample", str(two), "--n", "4", "--out", str(tmp_path / "grid.png")]) == 0
