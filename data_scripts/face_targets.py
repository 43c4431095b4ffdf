"""Lists the seeds of the drawn targets, faces of adults from the FFHQ generator that a package ships.

    python data_scripts/get_weights.py lite0       # what the judge of faces looks with, if it is not here yet
    python data_scripts/face_targets.py            # draws and judges the faces that were kept by eye; a few minutes
    python data_scripts/face_targets.py --sheets FOLDER      # and writes what it lists as pictures, to be looked at

Adults only, and that was decided by eye. No data set here shows children, so that no judge could be taught to tell
them: small ones are taken for seniors. KEPT names each face that was looked at and is clearly a grown-up; whoever
could be under age, or is no whole face, was struck out, about a quarter of all. No other seed is ever listed.

How the candidates were found, with the truncation ψ = 0.7, at which fewer faces are broken and fewer are children.
Women and men: seeds 0 to 1,899, if the judge was sure (SURE), took them for no seniors, and a ridge regression of
UTKFace's ages on the same maps for no younger than 28 years. Seniors, who are one face in seventy: among seeds 0 to
99,999, by a regression on w of what the judge had said of 1,900 faces, and then of which of them were kept by eye.
Each face is judged as UTKFace frames faces, through BOX: of all squares of a drawn face, the one whose mean picture
correlates most with UTKFace's (r = 0.92). The candidates were drawn by a first fit of the generator's image head; what
the judge does not confirm of those that were kept, drawn by the shipped head, is left out.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import torch
from terminal import status
from torch import Tensor
from torch.nn import functional as F

from minegan_lite import published
from minegan_lite.chapters.plots import save_grid
from minegan_lite.data import drawn, to_signed
from minegan_lite.files import write_atomically
from minegan_lite.metrics import attributes

TRUNCATION = 0.7
BOX = (11, 18, 53, 60)  # left, top, right, bottom
SURE, LIKELY = 0.9, 0.5  # probability of women and men; of seniors, whom the judge knows less well
_WOMEN = """
1 5 19 24 30 33 35 41 42 47 56 61 66 67 69 74 76 77 82 88 93 94 97 98 101 110 117 127 128 129 132 134 140 143 149 164
168 173 174 184 189 190 193 195 199 211 212 213 215 217 222 226 228 233 235 245 247 248 261 264 265 269 275 281 284
287 297 299 302 304 307 312 319 322 324 335 341 345 346 361 375 388 393 423 433 435 451 452 453 454 456 465 466 469
471 474 478 481 483 484 490 491 498 502 503 515 519 524 534 537 549 551 553 555 559 560 572 579 581 596 607 612 613
619 623 627 637 645 650 660 662 667 671 680 682 685 692 693 708 715 716 722 723 727 729 733 739 742 743 749 752 760
761 768 769 779 782 791 801 806 809 812 821 849 850 852 855 858 865 866 873 885 897 900 907 908 909 910 911 919 924
929 930 931 933 953 957 958 959 960 961 968 969 972 977 980 981 984 985 991 994 996 998 1000 1001 1002 1004 1006 1007
1008 1016 1019 1025 1028 1035 1038 1042 1046 1071 1077 1079 1085 1086 1091 1099 1105 1106 1107 1108 1116 1123 1125
1130 1137 1146 1149 1156 1179 1183 1191 1192 1195 1199 1203 1208 1218 1220 1221 1231 1242 1244 1246 1247 1250 1251
1257 1258 1269 1280 1282 1287 1288 1293 1295 1296 1297 1300 1306 1314 1321 1323 1324 1326 1335 1336 1341 1343 1348
1363 1364 1375 1378 1379 1387 1389 1404 1405 1411 1419 1421 1426 1427 1428 1452 1461 1464 1466 1469 1470 1483 1485
1489 1491 1494 1499 1501 1509 1512 1517 1521 1523 1533 1534 1538 1546 1569 1570 1577 1581 1594 1601 1602 1603 1607
1611 1614 1615 1625 1627 1646 1661 1662 1666 1667 1674 1676 1682 1685 1690 1701 1713 1716 1719 1723 1741 1747 1754
1759 1769 1771 1783 1786 1798 1799 1800 1803 1809 1812 1819 1822 1831 1832 1833 1835 1838 1844 1850 1851 1852 1858
1862 1866 1873 1877 1881 1886 1887 1888 1892 1894
"""
_MEN = """
2 6 9 12 14 16 17 22 23 26 27 32 34 38 39 40 43 45 46 48 58 65 72 73 83 92 105 112 113 116 122 125 130 133 136 139 152
156 157 158 165 171 176 178 181 186 187 198 227 229 240 241 242 246 252 258 268 273 274 278 279 283 285 288 291 300
308 317 320 321 326 328 330 350 352 353 357 364 369 371 372 379 380 387 396 401 406 410 414 416 429 430 431 439 440
441 457 460 461 462 467 470 475 485 489 492 494 496 497 504 506 512 516 526 531 536 538 541 545 546 547 556 557 562
564 568 570 576 583 589 591 599 609 614 616 618 625 630 635 638 643 644 649 655 666 668 672 677 678 679 684 687 691
697 699 700 702 717 718 725 728 731 736 738 757 763 771 776 780 785 802 810 819 822 829 831 833 837 838 842 844 857
859 861 863 868 870 872 874 888 889 896 904 921 922 927 939 943 950 955 982 987 993 1003 1009 1011 1015 1017 1023 1026
1033 1036 1037 1039 1041 1050 1051 1062 1064 1066 1068 1072 1092 1096 1101 1109 1117 1118 1124 1126 1127 1132 1133
1134 1140 1141 1153 1167 1170 1180 1181 1182 1200 1204 1207 1211 1213 1215 1216 1223 1227 1229 1235 1238 1243 1245
1252 1254 1263 1264 1272 1276 1283 1284 1289 1292 1294 1298 1299 1305 1309 1312 1313 1317 1322 1330 1331 1334 1345
1351 1352 1354 1357 1358 1359 1365 1368 1370 1371 1374 1376 1382 1386 1394 1397 1399 1403 1406 1408 1409 1415 1417
1430 1431 1438 1439 1442 1447 1450 1451 1453 1455 1457 1460 1463 1467 1471 1472 1474 1475 1476 1478 1479 1482 1484
1488 1497 1500 1505 1506 1515 1516 1519 1522 1531 1532 1537 1542 1551 1554 1555 1572 1576 1579 1582 1584 1585 1590
1593 1598 1599 1600 1606 1609 1610 1612 1621 1624 1626 1629 1632 1635 1639 1643 1645 1650 1665 1671 1681 1683 1684
1695 1711 1714 1728 1731 1732 1733 1737 1738 1742 1749 1750 1756 1761 1767 1777 1787 1788 1804 1815 1820 1821 1824
1826 1839 1841 1845 1853 1857
"""
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
KEPT = {kind: tuple(map(int, text.split())) for kind, text in zip(drawn.KINDS, (_WOMEN, _MEN, _SENIORS), strict=True)}


def judged(images: Tensor) -> Tensor:
    """Probabilities (n, 3) of faces, uint8 (n, 3, 64, 64), seen through BOX as UTKFace's are."""
    left, top, right, bottom = BOX
    cut = to_signed(images)[:, :, top:bottom, left:right]
    close = F.interpolate(cut, images.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
    return attributes.face_attributes()(close)


def confirmed(kind: str, probabilities: Tensor) -> dict[str, list]:
    """Of the faces of a kind that were kept, with the judge's probabilities (n, 3), those that it takes for that kind.

    The seeds, in their order, and the probabilities of being a woman, a man, or a senior.
    """
    woman, senior = probabilities[:, 0], probabilities[:, 1]
    own = {"women": woman, "men": 1 - woman, "seniors": senior}[kind]
    keep = own > LIKELY if kind == "seniors" else (own > SURE) & (senior < LIKELY)
    pairs = [(seed, round(p, 3)) for seed, p, kept in zip(KEPT[kind], own.tolist(), keep.tolist(), strict=True) if kept]
    return {"seeds": [seed for seed, _ in pairs], "probabilities": [p for _, p in pairs]}


def listing(found: dict[str, dict[str, list]]) -> bytes:
    """The list as it is shipped."""
    facts = {"generator": drawn.GENERATOR, "truncation": TRUNCATION, "judge": attributes.SHA256}
    return (json.dumps(facts | found) + "\n").encode()


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0, or 2 behind one line for what a user can mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheets", type=Path, metavar="FOLDER", help="also write what is listed as pictures")
    args = parser.parse_args(arguments)

    def work() -> None:
        generator = published.load(drawn.GENERATOR, with_critic=False).generator
        found = {}
        for kind, seeds in KEPT.items():
            images = drawn.draw(generator, list(seeds), TRUNCATION)
            found[kind] = confirmed(kind, judged(images))
            print(f"{kind}: {len(found[kind]['seeds'])} of {len(seeds)}", flush=True)
            if args.sheets:
                args.sheets.mkdir(parents=True, exist_ok=True)
                listed = torch.isin(torch.tensor(seeds), torch.tensor(found[kind]["seeds"]))
                save_grid(to_signed(images[listed]), args.sheets / f"{kind}.png", 20, 1)
        content = listing(found)
        write_atomically(drawn.FOLDER / f"{drawn.PREFIX}.json", content)
        print(f"{drawn.PREFIX}.json: sha256 {hashlib.sha256(content).hexdigest()}")

    return status("face_targets.py", work)


if __name__ == "__main__":
    sys.exit(main())
