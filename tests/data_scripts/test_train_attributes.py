"""The maker of the judge: its split, its labels, its fit against scikit-learn's, and the square between framings."""

import hashlib

import pytest
import torch
import train_attributes
from pictures import picture, zipped
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F
from train_attributes import LABELS, Framed, best_square, fit, labels_in, losses, main, part, verdicts

from minegan_lite.metrics import attributes

NAN = float("nan")


def rows(*of: tuple[str, str]) -> list[dict[str, str]]:
    return [{"Male": male, "Smiling": smiling, "Young": "1", "Gray_Hair": "0"} for male, smiling in of]


def known() -> dict[str, Framed]:
    """Forty pictures of CelebA in two framings, twenty adults and twenty targets of UTKFace."""
    names = [f"{i:06}.jpg" for i in range(40)]
    celeba = Framed(names, rows(*((str(i % 2), str(i // 2 % 2)) for i in range(40))), torch.randn(40, 5).half())
    people = [{"group": "adults", "age": "30", "gender": "female" if i % 2 else "male"} for i in range(20)]
    others = [{"group": "seniors" if i < 10 else "women", "age": "70", "gender": "female"} for i in range(20)]
    return {
        "celeba": celeba,
        "celeba-tight": celeba,
        "utkface": Framed([f"a{i}" for i in range(20)], people, torch.randn(20, 5).half()),
        "utkface-targets": Framed([f"t{i}" for i in range(20)], others, torch.randn(20, 5).half()),
        "utkface-small": Framed([f"a{i}" for i in range(20)], people, torch.randn(20, 5).half()),
        "utkface-small-targets": Framed([f"t{i}" for i in range(20)], others, torch.randn(20, 5).half()),
    }


def test_the_split_is_by_name_and_in_the_shares_that_the_card_says():
    names = [f"celeba/{i:06}.jpg" for i in range(4000)]
    shares = {kind: sum(part(name) == kind for name in names) / 4000 for kind in ("train", "validation", "test")}
    assert sum(shares.values()) == 1
    assert shares["train"] == pytest.approx(0.7, abs=0.03)
    assert shares["validation"] == pytest.approx(0.15, abs=0.03)
    digest = int(hashlib.sha256(b"0:celeba/000007.jpg").hexdigest(), 16) % 20
    assert part("celeba/000007.jpg") == ("train" if digest < 14 else "validation" if digest < 17 else "test")


def test_each_picture_is_in_one_part_and_has_the_labels_of_its_data_set():
    parts = {kind: labels_in(kind, known()) for kind in ("train", "validation", "test")}
    everything = torch.stack(list(parts.values()))
    assert everything.shape == (3, 160, 3)
    assert ((~everything.isnan()).sum(0) <= 1).all()  # nobody is in two parts
    labels = everything.nan_to_num(-1).amax(0)  # −1 where there is none
    woman, senior, smiling = labels.T
    of_celeba = torch.arange(40) % 2 == 0
    for framing in (slice(0, 40), slice(40, 80)):
        assert torch.equal(woman[framing], of_celeba.float())
        assert torch.equal(smiling[framing], (torch.arange(40) // 2 % 2).float())
        assert (senior[framing] == -1).all()
    for start in (80, 120):  # UTKFace at 64 pixels, and at 36
        assert torch.equal(woman[start : start + 20], (torch.arange(20) % 2).float())
        assert (woman[start + 20 : start + 40] == -1).all()  # the book's targets are not learnt from
        wanted = torch.cat([torch.zeros(20), torch.ones(10), -torch.ones(10)])
        assert torch.equal(senior[start : start + 40], wanted)
    assert (smiling[80:] == -1).all()
    # the two framings of a picture are on one side
    assert torch.equal(everything[:, :40].isnan(), everything[:, 40:80].isnan())


def test_the_loss_weights_both_classes_alike_and_skips_who_has_no_label():
    logits = torch.tensor([[1.0, 0.3], [-2.0, 0.1], [0.5, -1.0], [3.0, 2.0]])
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [NAN, 1.0]])
    expected = [
        (F.softplus(torch.tensor(-1.0)) + F.softplus(torch.tensor([-2.0, 0.5])).mean()) / 2,
        (F.softplus(torch.tensor(0.3)) + F.softplus(torch.tensor([-0.1, 1.0, -2.0])).mean()) / 2,
    ]
    torch.testing.assert_close(losses(logits, labels), torch.stack(expected))


def test_the_fit_is_scikit_learns_and_its_penalty_the_one_of_the_validation_pictures(monkeypatch):
    """Attribute by attribute, on features of different scales, and with labels for some pictures only."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(400, 6, generator=rng) * torch.tensor([1, 5, 0.1, 2, 1, 1]) + 3
    truth = ((x - 3) @ torch.tensor([[1.0, 0.1], [0.1, -0.3], [3.0, 0.0], [0.0, 0.5], [0, 0], [0, 0]])) > 0.5
    noise = torch.rand(400, 2, generator=rng) < 0.2
    labels = (truth ^ noise).float()
    labels[::3, 1] = NAN
    train, validation = labels.clone(), labels.clone()
    train[300:], validation[:300] = NAN, NAN
    monkeypatch.setattr(train_attributes, "PENALTIES", (1.0, 0.01))
    monkeypatch.setattr(train_attributes, "ITERATIONS", 200)
    head, chosen = fit(x, train, validation)
    seen = ~train.isnan().all(1)
    mean, scale = x[seen].mean(0), x[seen].std(0) + 1e-3
    for i in range(2):
        own, judged = ~train[:, i].isnan(), ~validation[:, i].isnan()
        found = {}
        for penalty in (1.0, 0.01):
            # scikit-learn's weights of the classes make theirs sum to n, and C multiplies a sum: λ n C = 1
            theirs = LogisticRegression(C=1 / (penalty * own.sum().item()), class_weight="balanced", tol=1e-8)
            theirs.fit(((x[own] - mean) / scale).numpy(), train[own, i].numpy())
            logits = torch.from_numpy(theirs.decision_function(((x - mean) / scale).numpy())).float()
            found[penalty] = losses(logits[judged, None], validation[judged, i : i + 1]).item(), logits
        best = min(found, key=lambda penalty: found[penalty][0])
        assert chosen[i] == best
        with torch.no_grad():
            torch.testing.assert_close(head(x)[:, i], found[best][1], atol=2e-3, rtol=2e-3)


def test_verdicts_count_what_the_card_says():
    head = torch.nn.Linear(3, 3)
    with torch.no_grad():
        head.weight.copy_(torch.eye(3))
        head.bias.zero_()
    features = torch.tensor([[2.0, 0, 0], [1, 0, 0], [-1, 0, 0], [-2, 0, 0], [3, 0, 0]])
    labels = torch.tensor([1.0, 0, 1, 0, NAN])
    assert verdicts(features, labels, head, "woman") == ["4", "50.0%", "50.0%", "50.0%", "50.0%", "0.7500"]


def test_the_square_between_two_framings_is_found():
    """One smooth picture, and its own square (11, 17) to (53, 59) enlarged."""
    rng = torch.Generator().manual_seed(1)
    wide = F.interpolate(torch.rand(1, 3, 9, 9, generator=rng), (64, 64), mode="bicubic", align_corners=False)[0]
    close = F.interpolate(wide[None, :, 17:59, 11:53], (64, 64), mode="bilinear", align_corners=False)[0]
    square, correlation = best_square(wide, 3 * close + 7)
    assert square == (11, 17, 53, 59)
    assert correlation == pytest.approx(1, abs=1e-5)


def test_every_label_is_of_a_framing_that_is_learnt():
    assert set(LABELS) == set(attributes.NAMES)
    assert all(set(of) <= set(train_attributes.FRAMINGS) for of in LABELS.values())


def test_without_data_one_line_says_what_to_do(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("MINEGAN_DATA", raising=False)
    assert main([]) == 2
    monkeypatch.setenv("MINEGAN_DATA", str(tmp_path))
    assert main(["--out", str(tmp_path / "out")]) == 2
    for line in capsys.readouterr().err.splitlines():
        assert "MINEGAN_DATA" in line or "celeba_64.zip" in line
    assert not (tmp_path / "out").exists()


def test_a_square_that_does_not_fit_stops_before_anything_is_learnt(monkeypatch, capsys, tmp_path):
    faces = {f"faces/{i}.png": picture(i, 64, 64) for i in range(3)}
    for name in ("celeba_64.zip", "utkface_adults_64.zip"):
        zipped(tmp_path / name, faces)
    monkeypatch.setenv("MINEGAN_DATA", str(tmp_path))
    assert main(["--out", str(tmp_path / "out")]) == 2
    assert "the square that fits these pictures is (0, 0, 64, 64): set attributes.TIGHT" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
