"""The selector widget: every control over its whole range, live while mining, against what was mined."""

import base64
import io
import math
import re
from dataclasses import replace

import pytest
import torch
from front_end import check_contract, click, from_browser, pixels, rest
from IPython.utils.capture import capture_output
from PIL import Image
from test_family import Stop, tiny_sources
from tiny import everything, same, tiny_gan, tiny_target

from minegan_lite.chapters.widgets import SelectorBars, live, selector_bars
from minegan_lite.errors import UserError
from minegan_lite.mined import Mined, load
from minegan_lite.selector import Selector
from minegan_lite.training import finetune, mine

FAST = {"steps": 6, "batch": 4, "save_every": 2, "log_every": 2, "progress": False, "device": "cpu"}
MINIBATCHES = 2  # of a step: one for the critic, one for the miners
NAMES = ["tiny0", "tiny1", "tiny2"]


@pytest.fixture(scope="module")
def mined():
    return mine(tiny_sources(3), tiny_target(), **FAST)


@pytest.fixture
def bars(mined):
    return SelectorBars(mined, seed=7)


def all_shown(bars):
    return [picture.shown for picture in (bars.shares, bars.supersample, bars.sampled)]


def check_shares(bars, names, p, after, of):
    """The bars of p (N,), each number to its last digit and each length to scale."""
    shown = bars.shares.shown
    assert shown["line"] == f"p after {after} of {of} minibatches"
    assert [row[0] for row in shown["rows"]] == names
    assert [float(row[1]) for row in shown["rows"]] == pytest.approx(p.tolist(), abs=0.00051)
    start, middle, end = map(float, shown["ticks"])
    assert (start, middle) == (0, pytest.approx(end / 2))
    assert [row[4] * end for row in shown["rows"]] == pytest.approx(p.tolist())
    assert shown["figures"] == []


def scored(critic, images):
    """The scores (n,) of a critic called by hand."""
    with torch.no_grad():
        return critic.eval()(images).squeeze(1)


# Each control over its whole range.


def test_each_position_of_the_slider_is_p_as_it_was_then(bars, mined):
    trace = mined.selector.trace()
    end = MINIBATCHES * FAST["steps"]
    assert (bars.position.min, bars.position.max, bars.position.value) == (0, end, end)
    assert len(trace) == end + 1
    others, axes = all_shown(bars)[1:], set()
    for at, p in enumerate(trace):
        from_browser(bars.position, value=at)
        check_shares(bars, NAMES, p, at, end)
        axes.add(tuple(bars.shares.shown["ticks"]))
        assert all_shown(bars)[1:] == others
    assert [row[1] for row in bars.shares.shown["rows"]] == [f"{p:.3f}" for p in mined.probabilities.values()]
    (axis,) = axes  # it stands still, and holds everything without a tenth to spare
    assert 0 <= float(axis[-1]) - trace.max() < 0.1
    from_browser(bars.position, value=end + 5)  # past the end
    assert bars.position.value == end


def test_the_framed_image_is_the_one_that_the_critic_scores_highest(bars, mined):
    assert (bars.supersample_seed.min, bars.supersample_seed.max, bars.supersample_seed.value) == (0, 9999, 7)
    winners = set()
    for seed in (7, 0, 1, 2, 3, 4, 5, 6, 4999, 9998, 9999):
        from_browser(bars.supersample_seed, value=seed)
        shown, images = bars.supersample.shown, mined.supersample(seed=seed)[0]
        scores = scored(mined.critic, images)
        figures = shown["figures"]
        assert [figure["name"] for figure in figures] == NAMES
        assert [figure["winner"] for figure in figures] == (torch.arange(3) == scores.argmax()).tolist()
        noted = [re.fullmatch(r"(-?\d+\.\d{3})(, wins)?", figure["note"]) for figure in figures]
        assert [float(note[1]) for note in noted] == pytest.approx(scores.tolist(), abs=0.00051)
        assert [bool(note[2]) for note in noted] == [figure["winner"] for figure in figures]
        winner = NAMES[scores.argmax()]
        assert shown["line"] == f"supersample {seed}: the critic scores {winner} highest"
        for figure, image in zip(figures, images, strict=True):
            assert (pixels(figure["image"]) - (image[0] + 1) * 127.5).abs().max() <= 0.51
        torch.testing.assert_close(bars.images, images)
        winners.add(winner)
    assert len(winners) > 1
    from_browser(bars.supersample_seed, value=10**6)  # past the end
    assert bars.supersample_seed.value == 9999


def test_each_click_draws_a_source_by_p_and_an_image_of_it(bars, mined):
    assert bars.sampled.shown["figures"] == []
    others = all_shown(bars)[:2]
    for seed in range(7, 27):
        click(bars.sample_one)
        shown, i = bars.sampled.shown, mined.chosen(1, seed=seed).item()
        rng = torch.Generator().manual_seed(seed)
        mined.selector.choose(1, rng)  # the draw of the source; what follows is the draw of u
        image = mined.draw(i, 1, rng)
        assert torch.equal(image, mined.sample(1, seed=seed))
        (figure,) = shown["figures"]
        assert (figure["name"], figure["winner"]) == (NAMES[i], False)
        assert (pixels(figure["image"]) - (image[0, 0] + 1) * 127.5).abs().max() <= 0.51
        assert torch.equal(bars.image, image[0])
        p = mined.probabilities[NAMES[i]]
        assert shown["line"] == f"sample {seed}: {NAMES[i]}, drawn with probability {p:.3f}"
        assert all_shown(bars)[:2] == others
    again = SelectorBars(mined, seed=26)
    click(again.sample_one)
    assert again.sampled.shown == bars.sampled.shown


def test_over_many_clicks_the_sources_come_up_as_often_as_p_says(mined):
    p = torch.tensor([0.6, 0.3, 0.1])
    selector, clicks = Selector(3), 600
    selector.count(torch.repeat_interleave(torch.arange(3), torch.tensor([599, 299, 99])))
    torch.testing.assert_close(selector.probabilities, p)
    bars = SelectorBars(replace(mined, selector=selector))
    bars.position.value = 0  # the slider, here at equal shares, has no part in it
    drawn = []
    for _ in range(clicks):
        bars.sample_one.click()
        drawn.append(bars.sampled.shown["figures"][0]["name"])
    for name, share in zip(NAMES, p.tolist(), strict=True):
        deviation = math.sqrt(share * (1 - share) / clicks)
        assert drawn.count(name) / clicks == pytest.approx(share, abs=4 * deviation)


@pytest.mark.parametrize("ema", [None, False])
def test_it_shows_what_the_mined_sources_draw(mined, ema):
    bars = SelectorBars(mined, seed=3, ema=ema)
    bars.sample_one.click()
    assert torch.equal(bars.image, mined.sample(1, seed=3, ema=ema)[0])
    assert torch.equal(bars.images, mined.supersample(seed=3, ema=ema)[0])
    assert not torch.equal(bars.images, mined.supersample(seed=3, ema=ema is False)[0])


# While mining.


def watched(**options):
    """Mines under a widget's eyes: it, what it gave, and what it showed at each logged step."""
    bars, seen = SelectorBars(seed=2), []

    def watch(mined):
        bars.position.value = 0  # wherever a reader has put it
        bars.update(mined)
        assert bars.position.value == bars.position.max == len(mined.selector)
        check_shares(bars, NAMES, mined.selector.probabilities, len(mined.selector), len(mined.selector))
        assert torch.equal(bars.images, mined.supersample(seed=2)[0])
        seen.append(all_shown(bars))

    return bars, mine(tiny_sources(3), tiny_target(), watch=watch, **{**FAST, **options}), seen


def test_it_waits_for_the_first_logged_step():
    bars = SelectorBars(truth={"tiny0": 1.0})
    assert all(control.disabled for control in (bars.position, bars.supersample_seed, bars.sample_one))
    bars.position.value = 0
    bars.sample_one.click()
    assert [(shown["rows"], shown["figures"]) for shown in all_shown(bars)] == [([], [])] * 3
    assert "nothing mined yet" in repr(bars)
    assert [text.get_text() for text in bars.figure().texts] == [bars.shares.shown["line"]]


def test_it_follows_the_end_while_mining_and_changes_nothing(mined):
    bars, theirs, seen = watched()
    assert len(seen) == 3
    assert len({str(shown) for shown in seen}) == 3
    assert seen[-1] == all_shown(bars) == all_shown(SelectorBars(mined, seed=2))
    assert not any(control.disabled for control in (bars.position, bars.supersample_seed, bars.sample_one))
    assert theirs.history == mined.history
    ours = mined.miners.state_dict()
    assert all(torch.equal(weight, ours[name]) for name, weight in theirs.miners.state_dict().items())


def test_while_mining_nothing_but_the_trainer_draws():
    """JupyterLab may handle a click in another thread: it must not find networks in the midst of training."""
    bars, rounds = SelectorBars(seed=4), []

    def watch(mined):
        bars.update(mined)
        finished = mined.history[-1]["step"] == FAST["steps"]
        assert bars.supersample_seed.disabled == bars.sample_one.disabled == (not finished)
        assert not bars.position.disabled
        before = all_shown(bars)
        click(bars.sample_one)
        from_browser(bars.supersample_seed, value=5 + len(rounds))
        assert (all_shown(bars)[1:] == before[1:]) == (not finished)
        from_browser(bars.position, value=1)  # reads what was counted, and touches no network
        check_shares(bars, NAMES, mined.selector.trace()[1], 1, len(mined.selector))
        rounds.append(before[1]["line"])

    mined = mine(tiny_sources(3), tiny_target(), watch=watch, **FAST)
    assert [re.match(r"supersample (\d)", line)[1] for line in rounds] == ["4", "5", "6"]
    assert torch.equal(bars.image, mined.sample(1, seed=4)[0])  # clicks that meant nothing took no seed


def test_an_unfinished_run_that_is_shown_on_its_own_can_be_drawn_from(mined):
    unfinished = replace(mined, record={**mined.record, "steps": 100})
    bars = SelectorBars(unfinished, seed=2)
    click(bars.sample_one)
    assert torch.equal(bars.image, mined.sample(1, seed=2)[0])


def test_what_threads_change_while_the_static_picture_is_drawn_is_not_lost(shell, bars, monkeypatch):
    with capture_output():
        shell.display_formatter.format(bars)
    figure = bars.figure

    def meanwhile():
        drawn = figure()
        from_browser(bars.position, value=0)
        return drawn

    from_browser(bars.position, value=1)
    with capture_output() as captured:
        monkeypatch.setattr(bars, "figure", meanwhile)
        rest(bars.shares)
        monkeypatch.undo()
        rest(bars.shares)
        rest(bars.shares)
    assert len(captured.outputs) == 2


def test_a_resumed_run_shows_all_of_its_history(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        mine(tiny_sources(3), tiny_target(), out=tmp_path / "run", watch=Stop(2), **FAST)
    stopped = SelectorBars(load(tmp_path / "run", tiny_sources(3)), seed=2)
    assert stopped.position.value == stopped.position.max == 2 * MINIBATCHES  # the checkpoint before the interruption
    bars, mined, seen = watched(out=tmp_path / "run")
    assert len(seen) == 2
    assert all_shown(bars) == all_shown(SelectorBars(mined, seed=2)) == seen[-1]
    _, whole, _ = watched()
    for at, p in enumerate(whole.selector.trace()):
        from_browser(bars.position, value=at)
        check_shares(bars, NAMES, p, at, len(whole.selector))


def test_a_second_stage_or_another_result_takes_the_place_of_the_first(mined):
    """Also a sample that was drawn: anew, with its seed."""
    bars = SelectorBars(mined, seed=2)
    click(bars.sample_one)
    first = all_shown(bars)
    tuned = finetune(mined, tiny_target(), watch=bars.update, generator_lr=0.1, **{**FAST, "steps": 2})
    assert bars.position.max == 2 * MINIBATCHES < len(mined.selector)
    same_of_tuned = SelectorBars(tuned, seed=2)
    click(same_of_tuned.sample_one)
    assert all_shown(bars) == all_shown(same_of_tuned)
    assert all(a != b for a, b in zip(first, all_shown(bars), strict=True))
    bars.update(mined)
    assert all_shown(bars) == first


def test_nothing_of_what_was_mined_is_changed(mined):
    networks = (mined.miners, mined.miners_average, mined.critic, *(source.generator for source in mined.sources))
    mined.critic.train()
    before = [everything(network) for network in networks]
    torch.manual_seed(5)
    following = torch.randn(3)
    torch.manual_seed(5)
    bars = SelectorBars(mined)
    bars.sample_one.click()
    bars.figure()
    assert torch.equal(torch.randn(3), following)
    assert all(same(b, everything(network)) for b, network in zip(before, networks, strict=True))


# The true shares.


def test_marks_stand_at_the_true_shares(mined):
    bars = SelectorBars(mined, truth={"tiny2": 0.95, "tiny0": 0.05})
    end = float(bars.shares.shown["ticks"][-1])
    assert end >= 0.95
    assert [row[2] for row in bars.shares.shown["rows"]] == ["0.050", "0.000", "0.950"]
    assert [row[3] * end for row in bars.shares.shown["rows"]] == pytest.approx([0.05, 0, 0.95])
    plain = SelectorBars(mined).shares.shown["rows"]
    assert [row[2:4] for row in plain] == [["", None]] * 3


# What is wrong is said in one line.


@pytest.mark.parametrize(
    "truth",
    [{}, {"tiny0": 0.5}, {"tiny0": 1.5, "tiny1": -0.5}, {"tiny0": math.nan}, {"tiny0": "1"}, {"tiny0": 0.9999}, [1.0]],
)
def test_a_truth_that_is_no_distribution_is_refused_at_once(truth):
    with pytest.raises(UserError, match="shares of sum 1") as error:
        SelectorBars(truth=truth)
    assert "\n" not in str(error.value)


def test_a_truth_of_other_names_is_refused(mined):
    with pytest.raises(UserError, match="truth names tiny9, the sources are tiny0, tiny1, tiny2"):
        SelectorBars(mined, truth={"tiny0": 0.5, "tiny9": 0.5})
    twins = replace(mined, sources=[mined.sources[0], mined.sources[0], mined.sources[2]])
    with pytest.raises(UserError, match="tell apart the sources that are called tiny0"):
        SelectorBars(twins, truth={"tiny0": 1.0})
    assert [row[0] for row in SelectorBars(twins, truth={"tiny2": 1}).shares.shown["rows"]] == [
        "tiny0", "tiny0", "tiny2"
    ]  # fmt: skip


def test_what_has_no_choice_or_has_counted_nothing_is_refused(mined):
    with pytest.raises(UserError, match="a Mined, got a Miner: mine a list"):
        SelectorBars(mined.miners[0])
    for alone in (tiny_gan(), [tiny_gan()]):
        with pytest.raises(UserError, match=r"^tiny alone was mined, [^\n]+: mine two or more sources$"):
            mine(alone, tiny_target(), watch=SelectorBars().update, **FAST)
    with pytest.raises(UserError, match=r"tiny0 \+ tiny1 \+ tiny2 has counted nothing"):
        SelectorBars(replace(mined, selector=Selector(3)))
    with pytest.raises(UserError, match="51 sources are more than the 50 bars"):
        SelectorBars(replace(mined, sources=mined.sources * 17))


@pytest.mark.parametrize("seed", [-1, 10000])
def test_seeds_out_of_range_are_refused(mined, seed):
    with pytest.raises(UserError, match=f"between 0 and 9999, got {seed}"):
        SelectorBars(mined, seed=seed)


@pytest.mark.parametrize("part", ["critic", "generator"])
def test_what_is_not_finite_is_refused(part):
    mined = mine(tiny_sources(2), tiny_target(), **{**FAST, "steps": 1})
    broken = mined.critic.layers[1].bias.data if part == "critic" else mined.sources[1].generator.norm.running_var
    broken[0] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        SelectorBars(mined)


# What leaves Python: the display, and the contract with the browser.


def png(output):
    with Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))) as picture:
        assert picture.format == "PNG"
        return picture.convert("L")


def test_the_static_picture_is_renewed_at_the_end_of_mining_or_after_a_rest(shell, mined):
    bars, outputs = SelectorBars(seed=1), []
    with capture_output() as captured:
        shell.display_formatter.format(bars)
    moving, still = captured.outputs
    assert moving.data[live.WIDGET_VIEW]["model_id"] == bars.model_id
    assert "nothing mined yet" in still.data["text/plain"]

    def watch(mined):
        with capture_output() as captured:
            bars.update(mined)
        outputs.append(captured.outputs)

    mine(tiny_sources(3), tiny_target(), watch=watch, **FAST)
    assert [len(output) for output in outputs] == [0, 0, 1]  # within PAUSE of the first only the last step counts
    (renewed,) = outputs[-1]
    assert renewed.update
    assert renewed.data["text/plain"] == repr(bars) != still.data["text/plain"]
    assert all(shown["line"] in repr(bars) for shown in all_shown(bars))
    assert png(renewed).height > png(still).height
    assert png(renewed).width > 400

    with capture_output() as captured:  # what came to rest while mining kept Python busy is known already
        for _ in range(3):
            rest(bars.shares)
    assert captured.outputs == []
    from_browser(bars.position, value=0)
    click(bars.sample_one)
    with capture_output() as captured:
        rest(bars.shares)
        rest(bars.sampled)
    (moved,) = captured.outputs
    assert moved.data["text/plain"] == repr(bars) != renewed.data["text/plain"]
    assert moved.data["image/png"] != renewed.data["image/png"]


def test_between_two_logged_steps_far_apart_it_is_renewed_too(shell, monkeypatch):
    monkeypatch.setattr(selector_bars, "PAUSE", 0.0)
    bars = SelectorBars()
    with capture_output() as captured:
        shell.display_formatter.format(bars)
        mine(tiny_sources(2), tiny_target(), watch=bars.update, **FAST)
    assert len(captured.outputs) == 2 + 3


def test_one_that_stands_nowhere_writes_nothing(bars, mined, capsys):
    bars.update(mined)
    rest(bars.shares)
    assert capsys.readouterr() == ("", "")


def test_closed_it_can_still_be_told(mined):
    bars = SelectorBars(mined)
    for child in bars.children:
        child.close()
    bars.close()
    from_browser(bars.position, value=0)
    bars.update(mined)
    assert bars.position.value == len(mined.selector)


def test_the_static_picture_holds_what_the_live_one_shows(mined):
    truth = {"tiny0": 0.25, "tiny1": 0.75}
    bars = SelectorBars(mined, truth=truth, seed=2)
    click(bars.sample_one)
    from_browser(bars.position, value=5)
    figure = bars.figure()
    chart, sampled, *images = figure.axes
    rows = bars.shares.shown["rows"]
    assert chart.get_title() == bars.shares.shown["line"]
    assert [label.get_text() for label in chart.get_yticklabels()] == NAMES
    assert [label.get_text() for label in chart.get_xticklabels()] == bars.shares.shown["ticks"]
    assert [patch.get_width() for patch in chart.patches] == [row[4] for row in rows]
    assert [text.get_text() for text in chart.texts] == [row[1] for row in rows]
    assert list(chart.lines[0].get_xdata()) == [row[3] for row in rows]
    told = bars.sampled.shown["figures"] + bars.supersample.shown["figures"]
    for axes, figure_told in zip([sampled, *images], told, strict=True):
        assert torch.equal(torch.tensor(axes.images[0].get_array()), pixels(figure_told["image"]))
        assert axes.get_title() == "\n".join(filter(None, (figure_told["name"], figure_told["note"])))
        assert axes.spines["left"].get_visible() == figure_told["winner"]
    assert sum(axes.spines["left"].get_visible() for axes in images) == 1
    lines = [bars.supersample.shown["line"], bars.sampled.shown["line"]]
    assert figure.get_supxlabel() == "\n".join(lines)


def test_ten_sources_in_colour_have_their_place(mined):
    images = torch.rand(10, 3, 8, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1

    class Ten(Mined):
        def supersample(self, *, seed=0, ema=None):
            return images, torch.arange(10.0), 9

    ten = Ten(**{**vars(mined), "sources": [replace(mined.sources[0], name=f"source {i}") for i in range(10)]})
    ten.selector = Selector(10)
    ten.selector.count(torch.arange(10))
    bars = SelectorBars(ten)
    check_shares(bars, [f"source {i}" for i in range(10)], torch.full((10,), 0.1), 1, 1)
    for figure, image in zip(bars.supersample.shown["figures"], images, strict=True):
        assert (pixels(figure["image"]) - (image.permute(1, 2, 0) + 1) * 127.5).abs().max() <= 0.51
    _, *drawn = bars.figure().axes
    assert len(drawn) == 10
    assert len({axes.get_subplotspec().rowspan.start for axes in drawn}) == 2


def test_the_browser_reads_what_python_writes(bars):
    check_contract(bars, [bars.shares, bars.supersample, bars.sampled], "selector_bars", {"shown"})
    script, styles = live.front_end("selector_bars.js"), live.front_end("selector_bars.css")
    click(bars.sample_one)
    keys = set(re.search(r"addFigure\(parent, \{ ([\w, ]+) \}\)", script)[1].split(", "))
    assert all(keys == set(f) for f in (*bars.supersample.shown["figures"], *bars.sampled.shown["figures"]))
    cells = re.search(r"addBar\(parent, \[([\w, ]+)\]\)", script)[1].split(", ")
    assert cells == ["name", "share", "truth", "mark", "length"]
    assert all(len(row) == len(cells) for row in bars.shares.shown["rows"])
    assert selector_bars.COLOUR in styles
