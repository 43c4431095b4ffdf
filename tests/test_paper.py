"""The paper's numbers were typed right: the averages that the paper prints are those of the rows that we typed."""

import statistics

import pytest

from minegan_lite import paper


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
