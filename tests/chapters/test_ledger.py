"""The ledger writes provenance that can be run again, gives back what it wrote, and refuses what is not a result."""

import json
import math
import os
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

import minegan_lite
from minegan_lite.chapters import ledger
from minegan_lite.errors import UserError


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """$MINEGAN_RESULTS, not created yet."""
    folder = tmp_path / "my results"
    monkeypatch.setenv("MINEGAN_RESULTS", str(folder))
    return folder


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """As in an installed wheel: no git checkout around the package."""
    monkeypatch.delenv("MINEGAN_RESULTS", raising=False)
    package = tmp_path / "site-packages" / "minegan_lite"
    package.mkdir(parents=True)
    monkeypatch.setattr(ledger, "_PACKAGE", package)
    return package


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """As in a git checkout with one commit and book/results."""
    monkeypatch.delenv("MINEGAN_RESULTS", raising=False)
    root = tmp_path / "checkout"
    (root / "minegan_lite").mkdir(parents=True)
    (root / "pyproject.toml").write_text("[project]\n")
    (root / "minegan_lite" / "code.py").write_text("x = 1\n")
    (root / "book").mkdir()
    (root / "book" / "nine.ipynb").write_text(notebook("1 + 1"))
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-q", "-m", "one")
    monkeypatch.setattr(ledger, "_PACKAGE", root / "minegan_lite")
    return root


def notebook(source: str, *outputs: str, tags=("hide",)) -> str:
    cell = {"cell_type": "code", "source": [source], "metadata": {"tags": list(tags)}, "outputs": list(outputs)}
    return json.dumps({"cells": [cell], "metadata": {}})


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True).stdout


def put(name="nine", numbers=None, **changes):
    arguments = {
        "settings": {"steps": 600},
        "seeds": 0,
        "device": "cpu",
        "seconds": 12.345,
        "n": 10_000,
        "command": "minegan-lite evaluate runs/nine",
    }
    return ledger.record(name, numbers or {"classifier_error": {"value": 0.06}}, **(arguments | changes))


def one_line(error) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_what_was_recorded_is_read(own):
    path = put("nine/quick", settings={"steps": 600, "sizes": (128, 128)}, seeds=range(2), device="cpu")
    assert path == own / "nine" / "quick.json" == ledger.find("nine/quick")
    result = ledger.read("nine/quick")
    assert result == {"name": "nine/quick"} | json.loads(path.read_text()) == ledger.read_all()["nine/quick"]
    assert set(result) == {"name", "numbers", "settings", "provenance"}
    assert result["numbers"] == {"classifier_error": {"value": 0.06}}
    assert result["settings"] == {"steps": 600, "sizes": [128, 128]}
    provenance = result["provenance"]
    assert set(provenance) == {
        *("command", "commit", "dirty", "seeds", "device", "device_name", "seconds", "n", "date", "versions")
    }
    assert provenance["command"] == "minegan-lite evaluate runs/nine"
    assert provenance["seeds"] == [0, 1]
    assert (provenance["device"], provenance["seconds"], provenance["n"]) == ("cpu", 12.3, 10_000)
    assert provenance["device_name"]
    assert abs((datetime.now().astimezone() - datetime.fromisoformat(provenance["date"])).total_seconds()) < 60
    assert set(provenance["versions"]) == {"python", "torch", "minegan_lite"}
    assert provenance["versions"]["minegan_lite"] == minegan_lite.__version__


def test_recording_again_replaces_and_leaves_no_other_file(own):
    put(numbers={"x": 1})
    put(numbers={"x": 2})
    assert ledger.read("nine")["numbers"] == {"x": 2}
    assert [file.name for file in own.iterdir()] == ["nine.json"]


def test_no_machine_path_is_kept(own, tmp_path):
    path = put(
        numbers={"target": f"{tmp_path}/faces"},
        settings={"out": tmp_path / "out", "list": [f"--x={tmp_path}/my runs/y"], "see": "https://example.org/a"},
        command=[f"{tmp_path}/bin/minegan-lite", "mine", f"--out={tmp_path}/runs/nine", "~/x/faces", "../data/f"],
    )
    text = path.read_text()
    assert str(tmp_path) not in text
    assert str(Path.home()) + "/" not in text
    result = json.loads(text)
    assert result["provenance"]["command"] == "minegan-lite mine --out=nine faces f"
    assert result["settings"] == {"out": "out", "list": ["--x=y"], "see": "https://example.org/a"}
    assert result["numbers"] == {"target": "faces"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("python data_scripts/train_zoo.py --width 32", "python data_scripts/train_zoo.py --width 32"),
        ("MINEGAN_DATA=/srv/data /usr/bin/python x.py", "MINEGAN_DATA=data python x.py"),
        ("mine --target mnist:9 --images 1000", "mine --target mnist:9 --images 1000"),
        ("mine --target '/home/me/my faces'", "mine --target 'my faces'"),
        (["mine", r"C:\Users\me\faces"], "mine faces"),
        ("a/../../home/me/x", "x"),
        ("python -c 'open(\"/home/me/x\")'", "python -c 'open(\"x\")'"),
    ],
)
def test_commands_stay_readable(own, given, kept):
    put(command=given)
    assert ledger.read("nine")["provenance"]["command"] == kept


def test_a_checkout_names_its_commit_and_results_alone_do_not_make_it_dirty(checkout):
    head = git(checkout, "rev-parse", "HEAD").strip()
    for name in ("one", "two"):
        assert put(name) == checkout / "book" / "results" / f"{name}.json"
    assert [(r["provenance"]["commit"], r["provenance"]["dirty"]) for r in ledger.read_all().values()] == [
        (head, False),
        (head, False),
    ]
    (checkout / "minegan_lite" / "code.py").write_text("x = 2\n")
    put("three")
    assert ledger.read("three")["provenance"]["dirty"] is True


def is_dirty(name="check") -> bool:
    put(name)
    return ledger.read(name)["provenance"]["dirty"]


def test_what_a_recording_command_writes_itself_makes_nothing_dirty(checkout, monkeypatch):
    assert not is_dirty()
    (checkout / "book/nine.ipynb").write_text(notebook("1 + 1", "2"))  # as `make chapters` rewrites it
    assert not is_dirty()
    git(checkout, "add", ".")
    assert not is_dirty()
    (checkout / "book/results/SHA256SUMS").write_text("")  # stands beside the records, and lists them
    for name in ("table4/off-9/seed0", "table4/off-9/seed1"):
        assert not is_dirty(name)
    monkeypatch.setenv("MINEGAN_RESULTS", str(checkout / "out" / "results"))
    for name in ("first", "table4/off-9/seed0", "table4/off-9/seed1"):
        assert not is_dirty(name)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "book/nine.ipynb").write_text(notebook("1 + 2", "3")),
        lambda root: (root / "book/nine.ipynb").write_text(notebook("1 + 1", "2", tags=["parameters"])),
        lambda root: (root / "book/nine.ipynb").write_text("{"),
        lambda root: (root / "book/nine.ipynb").unlink(),
        lambda root: (root / "book/ten.ipynb").write_text(notebook("1 + 1")),
        lambda root: (root / "book/nine.ipynb").rename(root / "book/eight.ipynb"),
        lambda root: (root / "minegan_lite/new\nname.py").write_text("x"),
        lambda root: (root / "results.json").write_text("{}"),
    ],
)
def test_every_other_change_does(checkout, change):
    change(checkout)
    assert is_dirty()


def test_own_results_stand_before_those_of_the_checkout(checkout, own):
    os.environ.pop("MINEGAN_RESULTS")
    put("both", numbers={"x": 1})
    put("theirs", numbers={"x": 1})
    os.environ["MINEGAN_RESULTS"] = str(own)
    put("both", numbers={"x": 2})
    assert ledger.read("both")["numbers"] == {"x": 2}
    assert {name: r["numbers"]["x"] for name, r in ledger.read_all().items()} == {"both": 2, "theirs": 1}
    assert json.loads((checkout / "book/results/both.json").read_text())["numbers"] == {"x": 1}


def test_an_installed_package_records_only_to_the_readers_folder(installed, own, monkeypatch):
    put()
    assert ledger.read("nine")["provenance"]["commit"] is None
    assert ledger.read("nine")["provenance"]["dirty"] is None
    monkeypatch.delenv("MINEGAN_RESULTS")
    with pytest.raises(UserError) as error:
        put()
    assert "$MINEGAN_RESULTS" in one_line(error)
    assert list(installed.rglob("*.json")) == []


def test_a_repository_around_an_environment_is_not_our_commit(checkout, monkeypatch):
    package = checkout / ".venv" / "minegan_lite"
    package.mkdir(parents=True)
    monkeypatch.setattr(ledger, "_PACKAGE", package)
    with pytest.raises(UserError):
        put()


def test_an_installed_package_reads_its_own_copy_which_must_name_a_commit(installed, own):
    path = put("shipped")
    (installed / "results").mkdir()
    os.environ.pop("MINEGAN_RESULTS")
    result = json.loads(path.read_text())
    (installed / "results" / path.name).write_text(json.dumps(result))
    with pytest.raises(UserError) as error:
        ledger.read("shipped")
    assert "commit" in one_line(error)
    result["provenance"] |= {"commit": "0" * 40, "dirty": False}
    (installed / "results" / path.name).write_text(json.dumps(result))
    assert ledger.read("shipped") == {"name": "shipped"} | result


@pytest.mark.parametrize(
    "name", ["", "../nine", "a/../../b", "a/..", "/etc/nine", "a//b", "a/", "a/.b", "..", ".hidden", "nine\n", "a b", 9]
)
def test_names_that_leave_the_folder_are_refused(own, name):
    for call in (ledger.read, ledger.find, ledger.series, put):
        with pytest.raises(UserError) as error:
            call(name)
        one_line(error)
    assert not own.exists()


def test_a_missing_name_is_one_clear_line(own):
    with pytest.raises(UserError) as error:
        ledger.read("no-such-result")
    assert "'no-such-result'" in one_line(error)


@pytest.mark.parametrize(
    "changes",
    [
        {"numbers": {"x": float("nan")}},
        {"numbers": {"x": object()}},
        {"numbers": [1]},
        {"settings": None},
        {"seeds": []},
        {"seeds": [0.5]},
        {"seconds": "12"},
        {"seconds": float("inf")},
        {"n": None},
        {"n": 10.0},
    ],
)
def test_what_is_no_result_is_refused_and_leaves_nothing(own, changes):
    with pytest.raises(UserError) as error:
        put(**changes)
    one_line(error)
    assert not own.exists()


PATHS = [
    *[(key,) for key in ("numbers", "settings", "provenance")],
    *[("provenance", key) for key in ("command", "commit", "dirty", "seeds", "device", "device_name")],
    *[("provenance", key) for key in ("seconds", "n", "date", "versions")],
    *[("provenance", "versions", key) for key in ("python", "torch", "minegan_lite")],
]


@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_reading_names_the_field_that_is_missing_or_wrong(own, path):
    file = put()
    for change in ("remove", "wrong"):
        result = json.loads(file.read_text())
        place = result
        for key in path[:-1]:
            place = place[key]
        if change == "remove":
            del place[path[-1]]
        else:
            place[path[-1]] = "long" if path[-1] == "seconds" else 0.5
        (own / "bad.json").write_text(json.dumps(result))
        with pytest.raises(UserError) as error:
            ledger.read("bad")
        assert ".".join(path) in one_line(error)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_not_read(own, number):
    file = put(numbers={"x": 1.5})
    file.write_text(file.read_text().replace("1.5", number))
    with pytest.raises(UserError) as error:
        ledger.read("nine")
    assert number in one_line(error)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"numbers": {}}', "[" * 100_000])
def test_a_damaged_file_is_one_clear_line(own, text):
    own.mkdir()
    (own / "nine.json").write_text(text)
    for call in (lambda: ledger.read("nine"), ledger.read_all):
        with pytest.raises(UserError) as error:
            call()
        assert "nine" in one_line(error)


def test_a_result_is_called_after_its_place_whatever_the_file_says(own):
    """Files from before the folders say the flat name that they had then."""
    path = put("table4/off-9/seed0")
    path.write_text(json.dumps({"name": "table4-off-9-seed0"} | json.loads(path.read_text())))
    everything = ledger.read_all()
    for result in (
        ledger.read("table4/off-9/seed0"),
        *ledger.series("table4/off-9"),
        everything["table4/off-9/seed0"],
    ):
        assert result["name"] == "table4/off-9/seed0"


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("occupied")
    monkeypatch.setenv("MINEGAN_RESULTS", str(tmp_path / "file"))
    with pytest.raises(UserError) as error:
        put()
    assert "cannot write" in one_line(error)


def test_a_series_is_the_seeds_of_one_name_and_nothing_else(own):
    assert ledger.series("a/run") == []
    for name in ("a/run/seed2", "a/run/seed10", "a/run/seed0", "a/run-longer/seed1", "b/run/seed3", "a/run/deep/seed4"):
        put(name, seeds=int(name.rpartition("seed")[2]))
    for name in ("a/run", "a/run/seedling", "a/run/seed"):
        put(name)
    for others in ("b/run/seed3", "a/run", "a/run/seedling"):  # nor are they read
        (own / f"{others}.json").write_text("{")
    assert [r["name"] for r in ledger.series("a/run")] == ["a/run/seed0", "a/run/seed2", "a/run/seed10"]


def test_a_series_is_that_of_the_checkout_and_of_the_reader_seed_by_seed(checkout, own):
    os.environ.pop("MINEGAN_RESULTS")
    for seed in (0, 1):
        put(f"a/run/seed{seed}", numbers={"x": 1}, seeds=seed)
    os.environ["MINEGAN_RESULTS"] = str(own)
    for seed in (1, 2):
        put(f"a/run/seed{seed}", numbers={"x": 2}, seeds=seed)
    assert [result["numbers"]["x"] for result in ledger.series("a/run")] == [1, 2, 2]


def test_a_seed_in_the_wrong_file_is_told(own):
    put("a/run/seed1", seeds=2)
    with pytest.raises(UserError) as error:
        ledger.series("a/run")
    assert "'a/run/seed1' says that its seeds are [2]" in one_line(error)


def test_over_seeds_is_counted_by_hand(own):
    for seed, value in enumerate([0.1, 0.2, 0.6]):
        put(f"nine-{seed}", numbers={"classifier_error": {"value": value}}, seeds=seed)
    summary = ledger.over_seeds([ledger.read(f"nine-{seed}") for seed in range(3)], "classifier_error", "value")
    assert summary == {
        "mean": pytest.approx(0.3),
        "sd": pytest.approx(0.07**0.5),  # ((0.2)² + (0.1)² + (0.3)²) / 2 = 0.07
        "min": 0.1,
        "max": 0.6,
        "seeds": [0, 1, 2],
    }
    assert ledger.over_seeds([ledger.read("nine-1")], "classifier_error", "value")["sd"] is None


def test_a_key_may_be_a_place_in_a_list(own):
    put(numbers={"shares": [0.25, 0.75], "by": {"0.3": 1.0}})
    (result,) = [ledger.read("nine")]
    assert ledger.over_seeds([result], "shares", "1")["mean"] == 0.75
    assert ledger.over_seeds([result], "by", "0.3")["mean"] == 1.0
    for keys in (("shares", "2"), ("shares", "-1"), ("shares", "x"), ("shares",), ("by", "0")):
        with pytest.raises(UserError, match="has no number"):
            ledger.over_seeds([result], *keys)


def test_over_seeds_refuses_what_is_not_one_number_a_seed(own):
    put("a", seeds=0)
    put("b", seeds=0)
    put("c", seeds=[1, 2])
    put("d", numbers={"classifier_error": None}, seeds=3)
    keys = ("classifier_error", "value")
    for names in ([], ["a", "b"], ["c"], ["a", "c"], ["a", "d"]):
        with pytest.raises(UserError) as error:
            ledger.over_seeds([ledger.read(name) for name in names], *keys)
        one_line(error)


def test_an_interval_is_students():
    from scipy.stats import ttest_1samp

    values = [3.0, 4.5, 2.0, 3.8]
    mean, low, high = ledger.interval(values)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((3.325, expected.low, expected.high))
    assert ledger.interval(values, 0.5)[1] > low
    assert ledger.interval([2.0]) == (2.0, -math.inf, math.inf)
    with pytest.raises(UserError, match="at least one value"):
        ledger.interval([])
