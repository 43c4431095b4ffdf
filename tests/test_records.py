"""The recorded runs are what was recorded: no number, setting, n or commit of one is changed by hand unseen."""

import hashlib
import json
import subprocess

import pytest

from book import records

WHY = "a record is not the one that is listed: if it comes from a run, `python book/records.py` lists it"


def test_every_record_is_the_one_that_is_listed():
    assert records.sums() == records.listed(), WHY


def test_the_list_is_what_sha256sum_reads():
    done = subprocess.run(["sha256sum", "--check", "--strict", "--quiet", records.LIST], cwd=records.FOLDER)
    assert done.returncode == 0


# The 168 runs of experiments that once lay in one folder: sha256 over their sorted sums, from before the move.
MOVED = "d5416bf1fb6c05b840b1af0db18112147be98d29e8ab244363dfb52dceda926e"
OWN = ("chapters", "benchmarks")  # whoever runs one again writes its record anew


def test_moving_the_records_into_folders_changed_no_byte():
    runs = [path for path in records.FOLDER.rglob("*.json") if path.parent.name not in OWN]
    older = [path for path in runs if json.loads(path.read_text("utf-8"))["provenance"]["date"] < "2026-11-22"]
    sums = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in older)
    assert len(sums) == 168
    assert hashlib.sha256("\n".join(sums).encode()).hexdigest() == MOVED


@pytest.fixture
def folder(tmp_path):
    """Two records, listed."""
    for name in ("a/run/seed0", "a/run/seed1"):
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"numbers": {"kmmd": 0.2}, "settings": {"steps": 9}, "provenance": {"n": 10}}))
    records.write(records.sums(tmp_path), tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.write_text(file.read_text().replace("0.2", "0.17")),
        lambda file: file.write_text(file.read_text().replace("9", "90")),
        lambda file: file.write_text(file.read_text().replace("10", "1000")),
        lambda file: file.unlink(),
        lambda file: file.rename(file.with_name("seed2.json")),
        lambda file: file.with_name("seed9.json").write_text(file.read_text()),
    ],
)
def test_a_change_by_hand_is_seen(folder, change):
    assert records.sums(folder) == records.listed(folder)
    change(folder / "a/run/seed0.json")
    assert records.sums(folder) != records.listed(folder)


def test_listing_one_record_lists_no_other(folder):
    for seed in (0, 1):
        (folder / f"a/run/seed{seed}.json").write_text("{}")
    before = records.listed(folder)
    records.update(folder / "a/run/seed0.json", folder)
    after = records.listed(folder)
    assert after["a/run/seed0.json"] == records.sums(folder)["a/run/seed0.json"] != before["a/run/seed0.json"]
    assert after["a/run/seed1.json"] == before["a/run/seed1.json"]
