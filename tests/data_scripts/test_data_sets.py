"""The table of data sets, and the selection from FFHQ by public labels."""

import csv
import gzip
import os
import re
from pathlib import Path

import data_sets
import public_weights
import pytest
from data_sets import TABLE, select_people

from minegan_lite.errors import UserError

AGES = "id,faces,gender,age\n00000,1,female,0.0\n00001,1,female,20.0\n00002,1,female,19.9\n00003,1,male,40.0\n"
AGES += "00004,1,male,9.9\n00005,1,female,10.0\n00006,1,female,71.0\n"
GROUPS = "image_number,age_group,age_group_confidence,gender,gender_confidence\n0,0-2,1,female,1\n1,20-29,1,female,1\n"
GROUPS += "2,15-19,1,female,1\n3,40-49,1,male,1\n4,7-9,1,male,1\n5,10-14,1,female,1\n6,70-120,1,female,1\n7,,0,,0\n"
NAMES = [f"images1024x1024/00000/{i:05}.png" for i in range(8)]
REAL = Path(os.environ.get("MINEGAN_DATA", Path(__file__).parents[3] / "shared" / "data")) / "ffhq_age_gender.csv.gz"


def test_every_data_set_of_the_paper_is_there():
    five = ("cock", "tape_player", "broccoli", "fire_engine", "harvester")
    assert {f"imagenet-{name}" for name in five} <= set(TABLE)
    assert {f"places365-{name}" for name in ("alley", "arch", "art_gallery", "auditorium", "ballroom")} <= set(TABLE)
    sources = ("car", "bus", "living_room", "kitchen", "bridge", "church_outdoor", "tower", "bedroom")
    assert {f"lsun-{name}" for name in sources} <= set(TABLE)
    assert {"celeba", "ffhq-women", "ffhq-children", "anime", "places365", "imagenet"} <= set(TABLE)


@pytest.mark.parametrize("row", TABLE.values(), ids=list(TABLE))
def test_a_row_says_where_from_and_on_which_terms(row):
    assert row.licence
    assert row.page.startswith(("https://", "http://places2."))
    assert (row.url is None) or row.archive
    assert row.url is None or row.url.startswith(("http://dl.yf.io/", "http://data.csail.mit.edu/", "https://drive."))
    assert len(row.md5) in (0, 32)
    if row.box:
        left, top, right, bottom = row.box
        assert ((left + right) / 2, (top + bottom) / 2, right - left) == (89, 121, 128)  # pytorch_GAN_zoo's crop
        assert left >= 0
        assert right <= 178
        assert bottom <= 218


@pytest.mark.parametrize("labels", [AGES, GROUPS], ids=["years", "groups"])
@pytest.mark.parametrize("packed", [False, True])
def test_women_and_children_by_either_kind_of_labels(tmp_path, labels, packed):
    path = tmp_path / ("labels.csv.gz" if packed else "labels.csv")
    path.write_bytes(gzip.compress(labels.encode()) if packed else b"\xef\xbb\xbf" + labels.encode())
    women, rule = select_people(NAMES, "women", path)
    assert women == [NAMES[1], NAMES[6]]
    assert "female, 20 years and more" in rule
    assert path.name in rule
    children, rule = select_people(NAMES, "children", path)
    assert children == [NAMES[0], NAMES[4]]
    assert "under 10 years" in rule


def test_the_order_and_the_subset_are_the_pictures(tmp_path):
    (tmp_path / "labels.csv").write_text(AGES)
    some = [NAMES[6], "elsewhere/1.jpg"]
    assert select_people(some, "women", tmp_path / "labels.csv")[0] == some


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("id,gender\n0,female\n", "no labels (KeyError: 'age')"),
        ("id,age\n0,30\n", "no labels (KeyError: 'gender')"),
        ("gender,age\nfemale,30\n", "no labels (KeyError: 'image_number')"),
        ("id,gender,age\n0,female,old\n", "no labels (ValueError"),
        ("id,gender,age\n0,female\n", "name no women"),
        ("id,gender,age\n99999,female,30\n", "name no women"),
        ("", "name no women"),
    ],
)
def test_other_labels_are_one_line(tmp_path, labels, said):
    (tmp_path / "labels.csv").write_text(labels)
    with pytest.raises(UserError) as failure:
        select_people(NAMES, "women", tmp_path / "labels.csv")
    assert said in str(failure.value)


def test_labels_that_are_missing_or_cut_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.csv cannot be read"):
        select_people(NAMES, "women", tmp_path / "nothing.csv")
    (tmp_path / "labels.csv.gz").write_bytes(gzip.compress(AGES.encode())[:-9])
    with pytest.raises(UserError, match="EOFError"):
        select_people(NAMES, "women", tmp_path / "labels.csv.gz")


@pytest.mark.parametrize("names", [["a/00000.png", "b/00000.png"], ["a/face.png"]])
def test_pictures_that_are_not_ffhqs_are_refused(tmp_path, names):
    (tmp_path / "labels.csv").write_text(AGES)
    with pytest.raises(UserError, match="and so on, each once"):
        select_people(names, "women", tmp_path / "labels.csv")


@pytest.mark.skipif(not REAL.exists(), reason="the real labels are not at hand")
def test_the_real_labels_select_as_a_plain_count_does():
    with gzip.open(REAL, "rt") as file:
        rows = list(csv.DictReader(file))
    names = [f"{row['id']}.png" for row in rows]
    women = [f"{row['id']}.png" for row in rows if row["gender"] == "female" and float(row["age"]) >= 20]
    children = [f"{row['id']}.png" for row in rows if float(row["age"]) < 10]
    assert select_people(names, "women", REAL)[0] == women
    assert select_people(names, "children", REAL)[0] == children
    assert (len(rows), len(children)) == (69471, 9750)
    assert not set(women) & set(children)


def test_the_page_names_every_data_set_and_only_weights_that_there_are():
    page = (Path(data_sets.__file__).parents[1] / "book" / "getting_data.md").read_text("utf-8")
    weights, pictures = page.split("## Data sets")
    named = set(re.findall(r"`((?:biggan|pgan|progan|sngan|stylegan|studiogan)\w*-[\w-]+)`", weights))
    assert named <= set(public_weights.TABLE)
    assert {"biggan-128", "progan-car", "sngan-projection"} <= named
    for name in TABLE:
        prefix, _, part = name.partition("-")
        category = {"lsun": "`lsun-CATEGORY`", "places365": f" {part}", "imagenet": f" {part}"}.get(prefix, f"`{name}`")
        assert category in pictures, name
    assert len(data_sets.SCENES + data_sets.OBJECTS) == 2 + 28  # as the page says


def test_hostile_labels_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(data_sets, "LARGEST", 1 << 18)
    text = b"id,gender,age\n0,male," + b"3" * 200_000 + b"\n"  # a field longer than the csv module takes
    contents = {
        "a.csv": text,
        "b.csv": b"id,gender,age\n" + b"9" * 5000 + b",female,3\n",
        "c.csv": b"id,gender,age\n\xff",
    }
    contents["d.csv.gz"] = b"\x1f\x8b\x08" + bytes(30)
    bomb = gzip.compress(b"id,gender,age\n0,female,3\n" + b"\n" * (1 << 24))
    contents["e.csv.gz"] = bomb
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=re.escape(name)) as failure:
            data_sets.select_people(["1.png"], "children", tmp_path / name)
        assert "\n" not in str(failure.value)
        assert ("too large" in str(failure.value)) == (name == "e.csv.gz")
    os.mkfifo(tmp_path / "f.csv")
    with pytest.raises(UserError, match="is a pipe"):
        data_sets.select_people(["1.png"], "children", tmp_path / "f.csv")


@pytest.mark.parametrize("name", ["².png", "9" * 5000 + ".png", "٣.png"])
def test_numbers_that_are_none_are_one_line(name, tmp_path):
    with pytest.raises(UserError, match=r"called 00000\.png"):
        data_sets.select_people([name], "children", tmp_path / "labels.csv")
