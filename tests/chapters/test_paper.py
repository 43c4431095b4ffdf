"""The paper's numbers were typed right: once more here, as the tables print them, and by the averages that it prints.

The text below was copied row by row from the paper and its supplement, not from `minegan_lite.chapters.paper`. Whoever
changes a number there has to look up the table, and to change it here, too.
"""

import re
import statistics

import pytest

from minegan_lite.chapters import paper


@pytest.mark.parametrize(
    ("which", "fid", "error"),
    [
        (("on", "unconditional"), 13.5, 5.7),
        (("on", "conditional"), 13.1, 2.2),
        (("off", "unconditional"), 21.5, 6.0),
        (("off", "conditional"), 16.2, 3.2),
    ],
)
def test_table_4_averages_to_what_the_paper_prints(which, fid, error):
    rows = paper.TABLE_4[which]
    assert len(rows) == 10
    assert statistics.fmean(row[0] for row in rows) == pytest.approx(fid, abs=0.055)
    assert statistics.fmean(row[1] for row in rows) == pytest.approx(error, abs=0.055)


def test_figure_6_bears_out_what_the_text_says_of_it():
    """Sec. 4.1: better than BSA by both measures with fine-tuning, of a similar KMMD without."""
    for rows in paper.FIGURE_6.values():
        (kmmd, mv), (bsa_kmmd, bsa_mv) = rows["MineGAN"], rows["BSA"]
        assert kmmd == min(score for score, _ in rows.values()) < bsa_kmmd
        assert mv == max(variety for _, variety in rows.values() if variety is not None) > bsa_mv
        assert rows["MineGAN (w/o FT)"][0] == pytest.approx(bsa_kmmd, abs=0.006)


def test_probabilities_sum_to_one():
    for shares in paper.TABLE_1_FOUR.values():
        assert sum(shares.values()) == pytest.approx(1)
    assert paper.TABLE_3_CARS["max"] == paper.TABLE_1_CARS[0.3]


# Table 1: red vehicles at 30, 50 and 70 % cars, tower, bedroom.
TABLE_1 = """
Scratch | 190 / 185 / 196 | 176 | 181
TransferGAN (car) | 76.9 / 72.4 / 75.6 | - | -
TransferGAN (bus) | 72.8 / 71.3 / 73.5 | - | -
TransferGAN (livingroom) | - | 78.9 | 65.4
TransferGAN (church) | - | 73.8 | 71.5
MineGAN (w/o FT) | 67.3 / 65.9 / 65.8 | 69.2 | 58.9
MineGAN | 61.2 / 59.4 / 61.5 | 62.4 | 54.7
"""
ESTIMATED = """
Car | 0.34 / 0.48 / 0.64 | - | -
Bus | 0.66 / 0.52 / 0.36 | - | -
Living room | - | 0.07 | 0.45
Kitchen | - | 0.06 | 0.40
Bridge | - | 0.42 | 0.08
Church | - | 0.45 | 0.07
"""
# Table 2: off-manifold FID / KMMD, on-manifold FID / KMMD, milliseconds.
TABLE_2 = """
Scratch | 190 / 0.96 | 187 / 0.93 | 5.1
TransferGAN | 89.2 / 0.53 | 58.4 / 0.39 | 5.1
DGN-AM | 214 / 0.98 | 180 / 0.95 | 3020
PPGN | 139 / 0.56 | 127 / 0.47 | 3830
MineGAN (w/o FT) | 82.3 / 0.47 | 61.8 / 0.32 | 5.2
MineGAN | 78.4 / 0.41 | 52.3 / 0.25 | 5.2
"""
# Fig. 6, bottom: FFHQ's KMMD and MV, Anime Face's KMMD and MV.
FIGURE_6 = """
Scratch | 0.890 / - | 0.753 / -
TransferGAN | 0.346 / 0.506 | 0.347 / 0.785
VAE | 0.744 / - | 0.790 / -
BSA | 0.345 / 0.785 | 0.342 / 0.908
MineGAN (w/o FT) | 0.349 / 0.774 | 0.347 / 0.891
MineGAN | 0.337 / 0.812 | 0.334 / 0.934
"""
# Supplement C, Table 3: mean, max.
TABLE_3 = "Car | 0.51 | 0.34"
# Supplement D, Table 4: digit; on-manifold unconditional and conditional, off-manifold unconditional and conditional.
TABLE_4 = """
0 | 13.4 / 2.5 | 12.6 / 0.7 | 21.3 / 2.8 | 15.6 / 1.1
1 | 13.1 / 1.7 | 12.6 / 1.9 | 15.9 / 2.5 | 14.8 / 2.1
2 | 14.6 / 6.3 | 12.8 / 2.7 | 23.1 / 5.2 | 18.2 / 3.6
3 | 14.1 / 10.1 | 13.3 / 1.6 | 22.8 / 7.3 | 14.2 / 1.5
4 | 14.7 / 6.4 | 13.4 / 1.2 | 23.4 / 6.3 | 15.3 / 4.2
5 | 13.1 / 9.3 | 11.7 / 2.1 | 21.9 / 10.9 | 17.2 / 5.7
6 | 13.4 / 2.8 | 14.3 / 1.8 | 24 / 3.1 | 15.8 / 1.6
7 | 12.9 / 3.2 | 14.2 / 1.8 | 24.8 / 4.9 | 16.3 / 2.6
8 | 14.2 / 7.5 | 14.7 / 5.5 | 25.7 / 9.8 | 18.7 / 5.6
9 | 11.3 / 6.8 | 11.2 / 2.9 | 12.5 / 7.4 | 16.3 / 3.5
"""


def printed(table: str) -> dict[str, list]:
    """Row name → its cells: a number, a tuple of them, None for a dash."""

    def cell(text: str):
        values = tuple(None if part == "-" else float(part) for part in re.split(r" ?/ ?", text))
        return values if len(values) > 1 else values[0]

    rows = [line.split(" | ") for line in table.strip().splitlines()]
    return {name: [cell(text) for text in cells] for name, *cells in rows}


def column(table: str, i: int) -> dict:
    """One column, without the rows that have a dash in it."""
    return {name: cells[i] for name, cells in printed(table).items() if cells[i] is not None}


def test_every_number_of_the_tables_is_the_one_that_is_printed():
    targets = ("red vehicles", "tower", "bedroom")
    assert {target: column(TABLE_1, i) for i, target in enumerate(targets)} == paper.TABLE_1_FID
    shares = {target: {name.lower(): p for name, p in column(ESTIMATED, i).items()} for i, target in enumerate(targets)}
    assert dict(zip((0.3, 0.5, 0.7), shares.pop("red vehicles")["car"], strict=True)) == paper.TABLE_1_CARS
    assert shares == paper.TABLE_1_FOUR
    assert {"off": column(TABLE_2, 0), "on": column(TABLE_2, 1)} == paper.TABLE_2
    assert column(TABLE_2, 2) == paper.TABLE_2_MS
    assert {"FFHQ": column(FIGURE_6, 0), "Anime": column(FIGURE_6, 1)} == paper.FIGURE_6
    assert dict(zip(("mean", "max"), printed(TABLE_3)["Car"], strict=True)) == paper.TABLE_3_CARS
    kinds = [(manifold, kind) for manifold in ("on", "off") for kind in ("unconditional", "conditional")]
    assert {kind: list(column(TABLE_4, i).values()) for i, kind in enumerate(kinds)} == paper.TABLE_4
    assert list(printed(TABLE_4)) == [str(digit) for digit in range(10)]


def test_every_number_of_the_texts_is_the_one_that_is_printed():
    """Supplement F, and the abstracts of the two neighbours; no number of the module is left without its test."""
    assert paper.SUPPLEMENT_F_CRITIC == {"tower": (62.4, 61.7), "bedroom": (54.7, 54.3)}
    assert paper.MIND2MIND_SPEED_UP == 10**2  # "two orders of magnitude"
    assert paper.TRANSFERI2I_POINTS == 25  # "over 25 points"
    assert {name for name in vars(paper) if name.isupper()} == {
        "TABLE_1_FID", "TABLE_1_CARS", "TABLE_1_FOUR", "TABLE_2", "TABLE_2_MS", "TABLE_3_CARS", "TABLE_4", "FIGURE_6",
        "SUPPLEMENT_F_CRITIC", "MIND2MIND_SPEED_UP", "TRANSFERI2I_POINTS",
    }  # fmt: skip
