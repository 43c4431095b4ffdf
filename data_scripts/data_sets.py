"""The paper's data sets: where they are, on which terms, which of their pictures are meant, and how they are cut."""

import csv
import gzip
import hashlib
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from minegan_lite.data.images import check_regular
from minegan_lite.errors import UserError

LARGEST = 1 << 26  # bytes of a table of labels, unpacked: those of FFHQ's 70,000 have a fifth of that
SCENES = (
    "bedroom", "bridge", "church_outdoor", "classroom", "conference_room", "dining_room", "kitchen", "living_room",
    "restaurant", "tower",
)  # fmt: skip
OBJECTS = (
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining_table", "dog",
    "horse", "motorbike", "person", "potted_plant", "sheep", "sofa", "train", "tv-monitor",
)  # fmt: skip
PLACES = ("alley", "arch", "art_gallery", "auditorium", "ballroom")  # the paper's off-manifold targets, Table 2
IMAGENET = {
    "cock": "n01514668", "tape_player": "n04392985", "broccoli": "n07714990", "fire_engine": "n03345487",
    "harvester": "n03496892",
}  # fmt: skip  # its on-manifold targets
LABELS = "https://github.com/royorel/FFHQ-Aging-Dataset (ffhq_aging_labels.csv, CC BY-NC-SA 4.0)"


@dataclass(frozen=True)
class DataSet:
    """One data set, or the part of one that is a target.

    what: it in a few words; page: where its terms are and how to get it; archive: the file's name, whose url (None
    where only a browser or an account gets it) and md5 ("" where unpublished) follow; folders: those whose pictures are
    meant, None for all; box: what is cut out first, (left, top, right, bottom) in pixels, None for nothing; people: the
    FFHQ selection, "women" or "children", None for no selection.
    """

    name: str
    what: str
    licence: str
    page: str
    archive: str = ""
    url: str | None = None
    md5: str = ""
    folders: tuple[str, ...] | None = None
    box: tuple[int, int, int, int] | None = None
    people: str | None = None

    @property
    def crop(self) -> str:
        """What of a picture is kept, in words."""
        box = f"the box {self.box}, then " if self.box else ""
        return f"{box}the square at the centre, as wide as the shorter side"


def _celeba(name: str, what: str, box: tuple[int, int, int, int] | None) -> DataSet:
    return DataSet(
        name, what, "non-commercial research only; no redistribution",
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html", "img_align_celeba.zip",
        "https://drive.usercontent.google.com/download?id=0B7EVK8r0v71pZjFTYXZWM3FlRnM&export=download&confirm=t",
        "00d2c5bc6d35e252742224ab0c1e8fcb", box=box,
    )  # fmt: skip


def _ffhq(name: str, what: str, people: str | None = None) -> DataSet:
    return DataSet(
        name, what, "CC BY-NC-SA 4.0, each photograph under its author's licence",
        "https://github.com/NVlabs/ffhq-dataset", people=people,
    )  # fmt: skip


def _lsun(category: str) -> DataSet:
    file = f"{category}_train_lmdb.zip" if category in SCENES else f"{category}.zip"
    kind = "scenes" if category in SCENES else "objects"
    return DataSet(
        f"lsun-{category}", f"LSUN, {category}", "none stated: pictures found on the web, for research",
        "https://www.yf.io/p/lsun", file, f"http://dl.yf.io/lsun/{kind}/{file}",
    )  # fmt: skip


def _places(name: str, folders: tuple[str, ...]) -> DataSet:
    file = "train_256_places365standard.tar"
    return DataSet(
        name, f"Places365, {', '.join(folders)}", "non-commercial research and education; no redistribution",
        "http://places2.csail.mit.edu/download.html", file, f"http://data.csail.mit.edu/places/places365/{file}",
        "53ca1c756c3d1e7809517cc47c5561c5", folders,
    )  # fmt: skip


def _imagenet(name: str, classes: tuple[str, ...]) -> DataSet:
    return DataSet(
        name, f"ImageNet, {', '.join(classes)}", "non-commercial research and education, for registered users",
        "https://image-net.org/download-images.php (ILSVRC2012_img_train.tar)",
        folders=tuple(IMAGENET[name] for name in classes),
    )  # fmt: skip


TABLE = {
    row.name: row
    for row in (
        _celeba("celeba", "CelebA, aligned, as mimicry's SNGANs saw it", None),
        _celeba("celeba-face", "CelebA, the 128×128 around the face, as pytorch_GAN_zoo saw it", (25, 57, 153, 185)),
        _ffhq("ffhq", "FFHQ"),
        _ffhq("ffhq-women", "FFHQ, women of 20 years and more", "women"),
        _ffhq("ffhq-children", "FFHQ, children under 10 years", "children"),
        DataSet(
            "anime", "faces of anime figures, any collection of them", "depends on the collection; drawings of others",
            "https://www.gwern.net/Danbooru2018 (which the paper cites), or another collection of such faces",
        ),
        *map(_lsun, (*SCENES, *OBJECTS)),
        _places("places365", PLACES),
        *(_places(f"places365-{category}", (category,)) for category in PLACES),
        _imagenet("imagenet", tuple(IMAGENET)),
        *(_imagenet(f"imagenet-{name}", (name,)) for name in IMAGENET),
    )
}  # fmt: skip


def select_people(names: list[str], people: str, labels: Path) -> tuple[list[str], str]:
    """Those of FFHQ's pictures that show women of 20 years and more, or children under 10, and the rule in words.

    The paper gives no ages; these bounds are ours, such that both kinds of public labels can decide them.
    labels: a CSV, or CSV.gz, with the columns gender, age (years) or age_group ("20-29"), and id or image_number.
    Raises UserError for other columns or ages, a picture that is there twice, and where nobody is left.
    """
    ids = [PurePosixPath(name).stem for name in names]
    if not all(re.fullmatch(r"[0-9]{1,9}", i) for i in ids) or len(set(map(int, ids))) != len(ids):
        raise UserError("FFHQ's pictures are called 00000.png and so on, each once: give the folder of one resolution")
    check_regular(labels)
    try:
        with open(labels, "rb") as file:
            content = file.read(LARGEST + 1)
        text = content
        if labels.suffix == ".gz":
            with gzip.open(io.BytesIO(content)) as packed:
                text = packed.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise ValueError("too large")
        text = text.decode("utf-8-sig")
        rows = list(csv.DictReader(text.splitlines()))
        chosen = {int(row.get("id") or row["image_number"]) for row in rows if _belongs(row, people)}
    except (OSError, EOFError, zlib.error, csv.Error, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{labels} are no labels ({type(error).__name__}: {error}): a CSV with id or image_number, gender, and age "
            f"or age_group is needed, such as {LABELS}"
        ) from None
    kept = [name for name, i in zip(names, ids, strict=True) if int(i) in chosen]
    if not kept:
        raise UserError(f"{labels} name no {people} among these pictures: are they FFHQ's, under their own numbers?")
    bounds = {"women": "gender female, 20 years and more", "children": "under 10 years"}[people]
    return kept, f"{bounds}, by {labels.name}, sha256 {hashlib.sha256(content).hexdigest()}"


def _belongs(row: dict[str, str], people: str) -> bool:
    age = row["age_group"] if "age_group" in row else row["age"]
    if not age:
        return False  # a face that nobody could judge
    youngest, _, oldest = age.partition("-")
    if people == "women":
        return row["gender"] == "female" and float(youngest) >= 20
    return float(oldest or youngest) < 10
