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
from minegan_lite.metrics.neighbours import coverage
from minegan_lite.networks.mnist import DigitClassifier


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
    good = evaluate(Draws(blobs), few, n=600, classifier=classifier)
    bad = evaluate(Draws(collapsed), few, n=600, classifier=classifier)
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

    def spy(x, y):
        pairs.append((x, y))
        return true_distance(x, y)

    monkeypatch.setattr(evaluation, "frechet_distance", spy)
    fading = torch.logspace(0, -3, 31)[:, None, None, None]  # some reals lie close, some far: coverage is not 1
    few = replace(target(31), held_out=noise(31, 5) * fading)  # odd: halves of 15, one image idle in each repeat
    result = evaluate(Draws(noise), few, n=50, classifier=classifier)
    monkeypatch.undo()
    real, fake = (evaluation.digit_features(x, classifier) for x in (few.held_out, noise(50, 1000)))
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
        assert result["frechet"][key] == pytest.approx(statistics.fmean(true_distance(x, y) for x, y in of))
        assert result["coverage"][key] == pytest.approx(statistics.fmean(coverage(a, x, k=5) for x, a in of))


def test_seed_and_weights_reach_the_sampler_and_one_seed_is_one_result(classifier):
    few, mined = target(20), Draws(blobs)
    first = evaluate(mined, few, n=40, seed=3, ema=False, classifier=classifier)
    assert mined.asked == {"n": 40, "seed": 3, "ema": False}
    assert (first["seed"], first["weights"]) == (3, "raw")
    torch.manual_seed(123)  # the global state has no say
    assert evaluate(mined, few, n=40, seed=3, ema=False, classifier=classifier) == first
    other = evaluate(mined, few, n=40, seed=4, ema=True, classifier=classifier)
    assert other["weights"] == "ema"
    assert other["frechet"]["floor"] != first["frechet"]["floor"]


def test_copying_tells_a_parrot_from_a_generator_of_the_law(classifier):
    few = replace(target(120), train=noise(40, 1), held_out=noise(120, 2))

    def parrot(n, seed):
        pick = torch.randint(40, (n,), generator=torch.Generator().manual_seed(seed))
        return few.train[pick]

    honest = evaluate(Draws(noise), few, n=600, classifier=classifier)["copying"]
    copied = evaluate(Draws(parrot), few, n=600, classifier=classifier)["copying"]
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
    assert evaluate(Draws(noise), few, n=6, classifier=classifier)["copying"]["floor"] == 0.0
    # twelve images far from each other, each with a training image beside it
    spread = noise(12, 4)
    few = replace(few, train=spread + 0.01, held_out=spread)
    assert evaluate(Draws(noise), few, n=6, classifier=classifier)["copying"]["floor"] == 1.0


def test_the_floor_of_copying_counts_equally_near_images_half(classifier):
    twice = noise(6, 4).repeat(2, 1, 1, 1)  # each image has a copy among the training images, and one beside itself
    copied = evaluate(Draws(noise), replace(target(12), train=twice, held_out=twice), n=6, classifier=classifier)
    assert copied["copying"]["floor"] == copied["copying"]["value"] == 0.5


def test_without_training_images_there_is_no_copying(classifier):
    few = replace(target(20), train=noise(0, 0))
    result = evaluate(Draws(blobs), few, n=40, classifier=classifier)
    assert result["copying"] is None
    assert "copying" not in format_report(result)


def test_classifier_error_counts_all_samples_and_the_held_out_reals(classifier):
    few = target(20)
    with torch.no_grad():
        fake_share = (classifier(blobs(40, 1000)).argmax(1) != 9).float().mean().item()
        real_share = (classifier(few.held_out).argmax(1) != 9).float().mean().item()
    error = evaluate(Draws(blobs), few, n=40, classifier=classifier)["classifier_error"]
    assert error == {"value": pytest.approx(fake_share), "n": 40, "m": 20, "floor": pytest.approx(real_share)}
    assert evaluate(Draws(blobs), target(20, digit=None), n=40, classifier=classifier)["classifier_error"] is None


@pytest.mark.parametrize(("m", "half", "k"), [(4, 2, 1), (60, 30, 5)])
def test_small_held_out_sets_work(classifier, m, half, k):
    result = evaluate(Draws(blobs), target(m), n=half, classifier=classifier)
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
        ((Draws(blobs), colour), {}, "features_of(images, network) by a network of your own"),
        ((Draws(blobs), replace(target(20), held_out=(blobs(20, 7) + 1) * 127.5)), {}, "reach from 0 to 255"),
        ((Draws(blobs), replace(target(20), train=(blobs(4, 1) + 1) * 127.5)), {}, "reach from 0 to 255"),
        ((Draws(lambda n, seed: (blobs(n, seed) + 1) * 127.5), target(20)), {}, "reach from 0 to 255"),
        ((Draws(lambda n, seed: torch.full((n, 1, 28, 28), torch.nan)), target(20)), {}, "NaN"),
    ]
    for arguments, options, says in cases:
        with pytest.raises(UserError) as error:
            evaluate(*arguments, **({"n": 40} | options), classifier=classifier)
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
        evaluate(Draws(law), target(20), n=40, classifier=classifier)
    assert str(error.value).startswith("sample(n=40) must give images (40, 1, 28, 28)")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_samples_without_a_value_below_zero_are_warned_of(classifier):
    with pytest.warns(UnsignedImages, match=r"x \* 2 - 1"):
        evaluate(Draws(lambda n, seed: (blobs(n, seed) + 1) / 2), target(20), n=40, classifier=classifier)
    with pytest.warns(UnsignedImages):
        evaluate(Draws(blobs), replace(target(20), train=(blobs(4, 1) + 1) / 2), n=40, classifier=classifier)


def test_the_shipped_classifier_is_the_default():
    from minegan_lite.metrics.features import signature
    from minegan_lite.zoo import load_classifier

    result = evaluate(Draws(blobs), target(8), n=8)
    assert result["frechet"]["features"] == signature(load_classifier())
    assert result["frechet"]["features"].startswith("digit-classifier/128/")


def test_the_report_states_every_number_with_its_floor(classifier):
    result = evaluate(Draws(blobs), target(20), n=40, classifier=classifier)
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
    without = evaluate(Draws(blobs), target(20, digit=None), n=10, classifier=classifier)
    assert "classifier error" not in format_report(without)
    assert "None" not in format_report(without)
