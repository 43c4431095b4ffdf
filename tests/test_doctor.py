"""The doctor tells what is there, and what is wrong."""

import hashlib
import platform

import torch

from minegan_lite import __version__, doctor, zoo
from minegan_lite.data import packages
from minegan_lite.metrics import pictures


def test_report_names_versions_device_data_and_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("MINEGAN_DATA", str(tmp_path))
    monkeypatch.setenv("MINEGAN_CACHE", str(tmp_path))
    told = doctor.report()
    assert (told["minegan-lite"], told["python"]) == (__version__, platform.python_version())
    assert str(torch.__version__).startswith(told["torch"])
    assert told["device"].split()[0] in ("cpu", "cuda", "mps")
    assert told["MNIST"] == "whole, in the package"
    assert all(name in told["weights"] for name in zoo.names())
    assert __version__ in doctor.line()
    assert "\n" not in doctor.line()


def test_report_names_what_is_damaged(monkeypatch):
    monkeypatch.setattr(zoo, "verify", lambda: [("mnist-all", True, "1 MB"), ("mnist-no-9", False, "too short")])
    assert doctor.report()["weights"] == "mnist-no-9: too short"


def test_report_tells_what_is_here_from_what_would_be_fetched(monkeypatch, tmp_path):
    """As in an installed wheel without cache: only what the package holds is here."""
    monkeypatch.setattr(zoo, "BESIDE", tmp_path)
    monkeypatch.setenv("MINEGAN_CACHE", str(tmp_path))
    here, absent = doctor.report()["weights"].split("; ")
    packaged = sorted(name for name, entry in zoo.entries().items() if entry["packaged"])
    others = sorted(zoo.entries().keys() - packaged)
    assert packaged
    assert others
    assert here == f"{len(packaged)} whole: {', '.join(packaged)}"
    assert absent == f"{len(others)} not here, fetched when first loaded: {', '.join(others)}"


def test_report_tells_whether_the_judge_of_pictures_is_here_and_whole(monkeypatch, tmp_path):
    monkeypatch.setenv("MINEGAN_CACHE", str(tmp_path))
    monkeypatch.setitem(pictures.WEIGHTS, "sha256", hashlib.sha256(b"weights").hexdigest())
    assert doctor.report()["judge of pictures"].startswith("Lite0, not here: ")
    where = packages.place(*(pictures.WEIGHTS[key] for key in ("package", "version", "file")))
    where.parent.mkdir(parents=True)
    where.write_bytes(b"weights")
    assert doctor.report()["judge of pictures"] == f"Lite0, whole: {where}"
    where.write_bytes(b"weight")
    assert "damaged" in doctor.report()["judge of pictures"]
