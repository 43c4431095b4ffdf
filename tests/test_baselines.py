"""The protocol's script as a user runs it, on the UCI digits: recorded once, skipped then, pending if not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minegan_lite.chapters import ledger
from minegan_lite.transfer import METHODS

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def script(tmp_path):
    """A function that runs it with a ledger of its own, beside the checkout's, and without MNIST."""

    def run(*arguments, fails=False):
        environment = os.environ | {
            "MINEGAN_RESULTS": str(tmp_path / "results"),
            "MINEGAN_DATA": str(tmp_path / "nothing"),
            "MINEGAN_CACHE": str(tmp_path / "cache"),
            "MINEGAN_OFFLINE": "1",
        }
        command = [sys.executable, ROOT / "data_scripts" / "baselines.py", *arguments, "--out", tmp_path / "runs"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert (done.returncode != 0) == fails, done.stderr
        return done.stdout + done.stderr

    return run


def test_a_run_is_recorded_once_with_everything_that_is_judged(script, tmp_path, monkeypatch):
    one = ("--experiments", "baselines-uci", "--methods", "bsa", "--images", "24", "--seeds", "9", "--steps", "3")
    assert "baselines-uci/bsa-24/seed9: error" in script(*one)
    monkeypatch.setenv("MINEGAN_RESULTS", str(tmp_path / "results"))
    result = ledger.read("baselines-uci/bsa-24/seed9")
    numbers, settings = result["numbers"], result["settings"]
    assert settings["images"] == 24
    assert settings["origin"] == "uci-digits"
    assert settings["method"] == "bsa"
    assert settings["truncation"] == ledger.read("tuning/bsa")["numbers"]["truncation"]
    assert result["provenance"]["n"] == 5200
    assert result["provenance"]["seeds"] == [9]
    assert numbers["evaluation"]["frechet"]["n"] == numbers["kmmd"]["n"] == numbers["mean_variance"]["n"] == 29
    assert numbers["kmmd"]["interval"][0] <= numbers["kmmd"]["value"] <= numbers["kmmd"]["interval"][1]
    assert numbers["neighbours_of_training_images"]["n"] == 24
    assert set(numbers["by_truncation"]) == {"0.3", "0.5", "1"}
    assert not any((tmp_path / "runs").iterdir())  # the weights are gone
    assert "recorded before" in script(*one)
    listed = script("--list", "--experiments", "baselines-uci", "--methods", "bsa", "vae", "--images", "24", "50")
    assert listed.count("pending") == len(listed.splitlines()) - listed.count("Fréchet")
    assert "baselines-uci/vae-50/seed2: pending" in listed


def test_every_method_has_its_rate_in_the_ledger():
    for method in METHODS:
        result = ledger.read(f"tuning/{method}")
        tried = {(row["factor"], row["truncation"]): row["frechet"] for row in result["numbers"]["tried"]}
        best = min(tried, key=tried.get)
        assert result["numbers"]["factor"] == best[0]
        factors = sorted({factor for factor, _ in tried})
        assert len(factors) >= 3
        assert factors[0] < best[0] < factors[-1] or len(factors) == 6  # the best is not the last on its side
        assert result["provenance"]["dirty"] is False
