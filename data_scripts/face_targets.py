"""Chooses the seeds of the drawn targets, faces of adults from the FFHQ generator that a package ships.

    export MINEGAN_DATA=…                          # for UTKFace's ages, by which the youngest are left out
    python data_scripts/face_targets.py            # draws and judges some 2,100 faces, and writes the list
    python data_scripts/face_targets.py --sheets FOLDER      # and what it chose, as pictures to be looked at

Each face is judged as UTKFace frames faces, in the square of it that fits best, and must clearly be of its kind.

Adults only. No data set here shows children, so that no judge could be taught to tell them: a regression of UTKFace's
ages leaves out whoever looks younger than 28 years, and it misses small children, whom the judge even takes for
seniors. So every candidate was looked at, and whoever could be under age, or is no face, was struck out: STRUCK. Where
another seed, another generator or another rule brings faces that nobody has looked at, look at them, too.

Seniors are rare, one face in seventy. Their candidates among seeds 0 to 99,999 were found by regression on w of what
the judge said, and then of what was kept by eye; those kept are SENIORS.
"""

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

import torch
from terminal import status
from torch import Tensor
from torch.nn import functional as F
from train_attributes import best_square, framed, part, pictures

from minegan_lite import published
from minegan_lite.chapters.plots import save_grid
from minegan_lite.data import drawn, to_signed
from minegan_lite.errors import UserError
from minegan_lite.files import write_atomically
from minegan_lite.metrics import attributes, features_of

SEEDS = 1900
TRUNCATION = 0.7  # fewer broken faces than 1, and fewer children
SURE, LIKELY = 0.9, 0.5  # probability of women and men; of seniors, whom the judge knows less well
ADULT = 28.0  # years, of UTKFace's
MOST = 400
RIDGE = 3000.0
_STRUCK = """
0 4 8 13 18 21 44 53 54 57 60 64 70 71 78 84 85 89 95 99 107 108 109 111 118 138 142 145 147 154 167 169 177 179 182
185 188 192 196 197 201 204 205 206 209 219 230 234 236 243 250 255 270 272 282 289 293 295 313 318 323 336 340 342
349 354 360 362 368 370 373 374 377 385 390 392 394 404 408 409 413 417 425 426 432 458 459 476 499 501 505 507 509
511 520 523 530 533 535 558 561 566 567 571 588 593 602 603 610 617 631 636 651 695 696 698 701 707 712 713 726 744
745 747 756 762 764 767 770 775 778 787 793 797 804 815 835 836 847 867 898 912 917 918 940 945 949 952 954 967 970
971 975 988 1010 1021 1027 1043 1047 1049 1052 1053 1054 1055 1057 1063 1067 1074 1088 1093 1102 1110 1113 1131 1147
1152 1155 1159 1161 1178 1184 1193 1197 1201 1210 1214 1222 1225 1228 1239 1253 1266 1270 1273 1277 1316 1319 1337
1342 1356 1360 1361 1362 1373 1385 1392 1425 1443 1458 1459 1468 1477 1480 1496 1503 1507 1518 1520 1527 1529 1543
1550 1553 1560 1561 1568 1571 1580 1583 1587 1589 1591 1604 1605 1613 1633 1634 1637 1640 1653 1654 1660 1675 1677
1686 1687 1688 1698 1699 1702 1715 1717 1722 1729 1736 1746 1758 1762 1763 1782 1785 1801 1805 1813 1828 1840 1843
1848 1856 1863 1868 1896 1898
"""
STRUCK = frozenset(map(int, _STRUCK.split()))
_SENIORS = """
148 402 724 826 916 1332 1595 1710 1790 2095 2134 2173 2431 2865 3017 3079 3260 4222 4245 4663 4676 5312 5503 5724
6246 7165 7410 8359 8822 8865 9212 9274 9407 10117 11243 12512 12868 13052 13548 13893 14351 14641 14711 15941 16882
17297 17616 17905 19360 19441 19866 20655 20982 21557 22908 23172 23791 23965 24281 24692 24929 26783 27483 28115
28783 29607 30141 30500 30674 31996 32461 33296 33401 33439 33727 34135 34374 34602 34805 35297 35338 35501 35723
36118 36407 36593 37035 37119 37262 37480 38023 38687 38732 38829 40811 41844 42701 44262 44402 44976 45403 46395
47133 47786 48177 49958 50085 50158 52248 52271 53371 53840 55886 57030 57692 57716 58037 58570 58709 59280 59481
61909 61956 61995 62538 62553 63303 63429 63825 64040 64891 65421 65848 65917 66005 66096 66621 67838 68367 68750
69393 70432 71088 71602 71817 72403 72617 72780 73169 74292 74407 74558 75079 75900 76022 77066 77882 78252 78593
79203 80559 80951 82565 82798 83087 83300 83655 84022 84603 85063 85428 85546 85627 86713 86756 87386 87918 88558
88609 89295 89302 90149 91010 91572 91872 92077 93402 93415 93606 95156 95382 96289 96723 97163 98018 98148 98991
"""
SENIORS = tuple(map(int, _SENIORS.split()))


def ages(root: Path) -> tuple[Tensor, float]:
    """Weight (7168,) and bias of a ridge regression of UTKFace's ages, in years, on the training pictures' features."""
    people = [framed(root, framing) for framing in ("utkface", "utkface-targets")]
    train = torch.cat([torch.tensor([part(name) == "train" for name in one.names]) for one in people])
    x = torch.cat([one.features for one in people])[train].float()
    years = torch.tensor([float(row["age"]) for one in people for row in one.rows])[train]
    mean, scale = x.mean(0), x.std(0) + 1e-3
    x, middle = (x - mean) / scale, years.mean()
    weight = x.T @ torch.linalg.solve(x @ x.T + RIDGE * torch.eye(len(x)), years - middle) / scale
    return weight, (middle - weight @ mean).item()


def judged(images: Tensor, box: tuple[int, int, int, int], weight: Tensor, bias: float) -> tuple[Tensor, Tensor]:
    """Probabilities (n, 3) and years (n,) of faces, uint8 (n, 3, 64, 64), seen through the box as UTKFace's are."""
    left, top, right, bottom = box
    cut = to_signed(images)[:, :, top:bottom, left:right]
    close = F.interpolate(cut, images.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
    judge = attributes.face_attributes()
    features = features_of(close, judge.maps)
    with torch.no_grad():
        return torch.sigmoid(judge.head(features)), features @ weight + bias


def chosen(probabilities: Tensor, years: Tensor, of_seniors: Tensor) -> dict[str, dict[str, list]]:
    """The list: for each kind the seeds and the probabilities that they were chosen by, the judge's of that kind.

    probabilities (SEEDS, 3), years (SEEDS,): of seeds 0 to SEEDS − 1. of_seniors: probabilities (n, 3) of SENIORS.
    """
    woman, senior = probabilities[:, 0], probabilities[:, 1]
    adults = (years >= ADULT) & (senior < LIKELY)
    kept = {
        "women": [(i, woman[i]) for i in (adults & (woman > SURE)).nonzero().flatten().tolist()],
        "men": [(i, 1 - woman[i]) for i in (adults & (woman < 1 - SURE)).nonzero().flatten().tolist()],
        "seniors": [(i, p) for i, p in zip(SENIORS, of_seniors[:, 1], strict=True) if p > LIKELY],
    }
    found = {}
    for kind, pairs in kept.items():
        pairs = sorted((seed, round(float(p), 3)) for seed, p in pairs if seed not in STRUCK)[:MOST]
        found[kind] = {"seeds": [seed for seed, _ in pairs], "probabilities": [p for _, p in pairs]}
    return found


def listing(found: dict[str, dict[str, list]]) -> bytes:
    """The list as it is shipped."""
    facts = {"generator": drawn.GENERATOR, "truncation": TRUNCATION, "judge": attributes.SHA256}
    return (json.dumps(facts | found) + "\n").encode()


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0, or 2 behind one line for what a user can mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheets", type=Path, metavar="FOLDER", help="also write what was chosen as pictures")
    args = parser.parse_args(arguments)

    def work() -> None:
        root = os.environ.get("MINEGAN_DATA")
        if not root:
            raise UserError("MINEGAN_DATA names no folder: set it to the one that holds UTKFace's two zips")
        weight, bias = ages(Path(root))
        _, close = pictures(Path(root) / "utkface_adults_64.zip")
        generator = published.load(drawn.GENERATOR, with_critic=False).generator
        images = drawn.draw(generator, list(range(SEEDS)), TRUNCATION)
        box, _ = best_square(images.float().mean(0), close.float().mean(0))
        probabilities, years = judged(images, box, weight, bias)
        old = drawn.draw(generator, list(SENIORS), TRUNCATION)
        found = chosen(probabilities, years, judged(old, box, weight, bias)[0])
        content = listing(found)
        write_atomically(drawn.FOLDER / f"{drawn.PREFIX}.json", content)
        for kind, one in found.items():
            print(f"{kind}: {len(one['seeds'])}")
            if args.sheets:
                args.sheets.mkdir(parents=True, exist_ok=True)
                faces = drawn.draw(generator, one["seeds"], TRUNCATION)
                save_grid(to_signed(faces), args.sheets / f"{kind}.png", 20, 1)
        print(f"{drawn.PREFIX}.json: sha256 {hashlib.sha256(content).hexdigest()}")

    return status("face_targets.py", work)


if __name__ == "__main__":
    sys.exit(main())
