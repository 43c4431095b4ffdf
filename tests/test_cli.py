"""The command line as a user types it: what works, what is refused in one line, and that nothing is left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

import minegan_lite
from minegan_lite import Unmined, checkpoints, cli, cli_runs, files, mined, terminal, training
from minegan_lite.errors import UserError
from minegan_lite.locks import locked
from minegan_lite.mined import load
from minegan_lite.thumbnails import NAME, SAMPLES, SEED, read_rows, strip
from tests.checkpoints.files import FILES
from tests.checkpoints.test_studiogan import critic_state

MINE = [
    "mine", "--source", "mnist-no-9", "--target", "uci-digits:9", "--images", "100", "--device", "cpu",
    "--precision", "32",  # whatever the processor: processes and module-wide fixtures know nothing of conftest
]  # fmt: skip


@pytest.fixture(scope="module")
def nine(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("cli") / "nine"
    assert cli.main([*MINE, "--steps", "4", "--out", str(run)]) == 0
    return run


def refused(capsys, arguments, *words) -> None:
    """The arguments are refused in one line on stderr that holds the words; exit status 2; stdout stays empty."""
    try:
        status = cli.main([str(a) for a in arguments])
    except SystemExit as left:
        status = left.code
    told = capsys.readouterr()
    assert status == 2
    assert told.out == ""
    assert told.err.count("\n") == 1, told.err
    assert "error: " in told.err
    for word in words:
        assert word in told.err


def test_mine_then_evaluate_as_json(nine, capsys):
    assert cli.main(["evaluate", str(nine), "--n", "200", "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert (numbers["target"], numbers["origin"], numbers["weights"]) == ("uci-digits:9", "uci-digits", "ema")
    for key in ("classifier_error", "frechet", "coverage"):
        assert numbers[key].keys() >= {"value", "n", "m", "floor"}
    assert 0 <= numbers["classifier_error"]["value"] <= 1
    assert numbers["classifier_error"]["n"] == 200


def test_evaluate_prints_a_table_and_raw_weights_differ(nine, capsys):
    told = []
    for options in ([], ["--raw"]):
        assert cli.main(["evaluate", str(nine), "--n", "100", *options]) == 0
        told.append(capsys.readouterr().out)
    assert "classifier error" in told[0]
    assert "real vs real" in told[0]
    assert "raw weights" in told[1]


def test_several_sources_and_a_mix_of_digits(tmp_path, capsys):
    run = str(tmp_path / "two")
    command = [
        "mine", "--source", "mnist-no-9", "mnist-no-0", "--target", "uci-digits:0=0.3,7=0.7", "--images", "60",
        "--steps", "3", "--device", "cpu", "--out", run,
    ]  # fmt: skip
    assert cli.main(command) == 0
    told = capsys.readouterr().out
    assert "selector: mnist-no-9 0." in told
    assert ", mnist-no-0 0." in told
    assert cli.main(["evaluate", run, "--n", "200"]) == 0
    assert "uci-digits:0×0.3+7×0.7" in capsys.readouterr().out
    assert cli.main(["sample", run, "--n", "9"]) == 0
    assert cli.main(["finetune", run, "--steps", "2", "--device", "cpu"]) == 0


def test_sample_writes_a_picture(nine, capsys, tmp_path):
    assert cli.main(["sample", str(nine), "--n", "10", "--seed", "3", "--out", str(tmp_path / "grid.png")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (2 * (8 * 29 + 1), 2 * (2 * 29 + 1))


def test_finetune_makes_a_run_of_its_own(nine, capsys):
    before = (nine / "state.pt").read_bytes()
    assert cli.main(["finetune", str(nine), "--steps", "2", "--device", "cpu"]) == 0
    tuned = nine.with_name("nine-finetuned")
    assert str(tuned) in capsys.readouterr().out
    assert files.read_settings(tuned)["stage"] == "finetune"
    assert (nine / "state.pt").read_bytes() == before
    assert cli.main(["evaluate", str(tuned), "--n", "100"]) == 0


def test_the_same_command_twice_gives_identical_bytes(nine, tmp_path):
    assert cli.main([*MINE, "--steps", "4", "--out", str(tmp_path / "again")]) == 0
    for name in ("run.json", "state.pt", NAME):
        assert (nine / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def start(arguments, **environment) -> subprocess.Popen:
    command = [sys.executable, "-m", "minegan_lite.cli", *map(str, arguments)]
    return subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, kill):
    arguments = [*MINE, "--steps", "8", "--save-every", "2"]
    assert cli.main([*arguments, "--out", str(tmp_path / "whole")]) == 0
    cut = [*arguments, "--out", tmp_path / "cut"]
    process = start(cut)
    deadline = time.time() + 120
    while not (tmp_path / "cut/state.pt").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.time() < deadline
        time.sleep(0.02)
    process.send_signal(kill)
    _, told = process.communicate(timeout=60)
    if kill != signal.SIGKILL and process.returncode != 0:  # on a fast machine it may have finished
        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[kill]
        assert told.strip().endswith(terminal.GOES_ON)
        assert "Traceback" not in told
    assert cli.main(list(map(str, cut))) == 0
    for name in ("run.json", "state.pt", NAME):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_without_data_and_network_it_is_mnist_that_is_mined(tmp_path):
    arguments = ["--target", "mnist:9", "--images", "100", "--steps", "2", "--out", tmp_path / "nine"]
    process = start(
        ["mine", "--source", "mnist-no-9", *arguments],
        MINEGAN_DATA=str(tmp_path), MINEGAN_CACHE=str(tmp_path / "cache"), MINEGAN_OFFLINE="1",
    )  # fmt: skip
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert files.read_settings(tmp_path / "nine")["target"] == "mnist:9"


def folder(tmp_path, n=6, size=(28, 28), mode="L") -> Path:
    path = tmp_path / "images"
    path.mkdir()
    for i in range(n):
        Image.new(mode, size, 40 * i if mode == "L" else (40 * i, 0, 0)).save(path / f"{i}.png")
    return path


def test_a_folder_of_images_is_a_target(tmp_path, capsys):
    run = tmp_path / "run"
    arguments = [
        "mine",
        "--source",
        "mnist-no-9",
        "--target",
        str(folder(tmp_path, 12)),
        "--steps",
        "2",
        "--device",
        "cpu",
    ]
    assert cli.main([*arguments, "--images", "4", "--out", str(run)]) == 0
    assert cli.main(["evaluate", str(run), "--n", "50", "--json"]) == 0
    told = capsys.readouterr().out
    numbers = json.loads(told[told.index("{") :])
    assert numbers["classifier_error"] is None
    assert (numbers["frechet"]["n"], numbers["frechet"]["m"]) == (4, 4)


@pytest.mark.parametrize("option", [[], ["--resize"]])
def test_photos_of_another_size_are_resized_unless_that_is_refused(tmp_path, capsys, option):
    command = ["mine", "--source", "mnist-no-9", "--target", folder(tmp_path, 6, (50, 40), "RGB"), "--steps", "1"]
    command = [*map(str, command), "--device", "cpu", "--out", str(tmp_path / "run")]
    refused(capsys, [*command, "--no-resize"], "0.png has shape (3, 40, 50)")
    assert not (tmp_path / "run").exists()
    assert cli.main([*command, *option]) == 0


def test_a_pack_is_a_target_and_found_again(tmp_path, capsys):
    run = tmp_path / "run"
    command = ["mine", "--source", "men-32", "--target", "noto-faces", "--images", "8", "--steps", "1", "--batch", "2"]
    assert cli.main([*command, "--device", "cpu", "--no-thumbnails", "--out", str(run)]) == 0
    assert json.loads((run / "run.json").read_text())["target_request"]["source"] == "noto-faces"


def mine_with(out, *changes) -> list:
    return ["mine", "--source", "mnist-no-9", "--target", "uci-digits:9", "--steps", "2", "--out", out, *changes]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        (["--source", "mnist-no-11"], "mnist-no-9"),
        (["--target", "mnist:11"], "0 to 9"),
        (["--target", "mnist:nine"], "digit after the colon"),
        (["--target", "letters"], "unknown target"),
        (["--target", ""], "unknown target"),
        (["--target", "mnist:" + "9" * 5000], "digit after the colon"),
        (["--target", "mnist:" + "9" * 5000 + "=0.5,1=0.5"], "write shares"),
        (["--seed", str(1 << 64)], "--seed"),
        (["--seed", "9" * 5000], "--seed"),
        (["--batch", str(10**9)], "take fewer"),
        (["--batch", "0"], "--batch"),
        (["--miner-lr", "-1"], "miner_lr"),
        (["--critic-lr", "nan"], "critic_lr"),
        (["--source", "mnist-cond-no-9:11"], "mnist-cond-no-9:8"),
        (["--source", "mnist-no-9:1"], "unconditional"),
        (["--source", "missing.pth"], "cannot be read"),
        (["--critic", "D.pth"], "of a file"),
        (["--layout", "sngan-mimicry"], "of a file"),
        (["--images", "0"], "at least 2"),
        (["--images", "1"], "at least 2"),
        (["--images", "-4"], "at least 2"),
        (["--images", "100000"], "100000"),
        (["--steps", "-1"], "steps"),
        (["--steps", "0"], "steps"),
        (["--steps", "many"], "--steps"),
        (["--seed", "-1"], "seed"),
        (["--preset", "best"], "preset"),
        (["--device", "tpu"], "--device"),
        (["--speed", "9"], "--speed"),
    ],
)
def test_bad_arguments_are_refused_in_one_line_and_leave_nothing(tmp_path, capsys, changes, word):
    refused(capsys, mine_with(tmp_path / "deep/run", *changes), word)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_told_in_one_line(tmp_path, capsys):
    refused(capsys, mine_with(tmp_path / "run", "--device", "cuda"), "cuda")
    assert list(tmp_path.iterdir()) == []


def test_bad_folders_are_refused_and_leave_nothing(tmp_path, capsys):
    images = folder(tmp_path)

    def attempt(word):
        refused(capsys, mine_with(tmp_path / "run", "--target", images, "--no-resize"), word)
        assert not (tmp_path / "run").exists()

    (images / "notes.txt").write_text("not an image")
    attempt("notes.txt")
    (images / "notes.txt").unlink()
    whole = (images / "3.png").read_bytes()
    (images / "3.png").write_bytes(whole[: len(whole) // 2])
    attempt("3.png")
    Image.new("L", (27, 28)).save(images / "3.png")
    attempt("3.png")
    Image.new("RGB", (28, 28)).save(images / "3.png")
    attempt("3.png")
    (images / "3.png").write_bytes(whole)
    for name in "0125":
        (images / f"{name}.png").unlink()
    attempt("at least 4")


ODD = {
    "photo.HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), "no readable image"),
    "text.jpg": (b"a letter, renamed", "no readable image"),
    "page.html": (b"<html></html>", "no readable image"),
    "empty.png": (b"", "no readable image"),
    "deep.png": (Image.new("I;16", (30, 30)), "more than 8 bits"),
    "cmyk.jpg": (Image.new("CMYK", (30, 30)), None),
    "clear.png": (Image.new("RGBA", (30, 30)), None),
    "palette.gif": (Image.new("P", (30, 30)), None),
}


@pytest.mark.parametrize("name", ODD)
def test_a_folder_of_photos_with_an_odd_one_is_taken_or_refused_in_one_line_that_names_it(tmp_path, capsys, name):
    images, (odd, word) = folder(tmp_path, 6, (50, 40), "RGB"), ODD[name]
    if isinstance(odd, bytes):
        (images / name).write_bytes(odd)
    else:
        odd.save(images / name)
    command = ["mine", "--source", "men-32", "--target", images, "--steps", "1", "--batch", "2", "--device", "cpu"]
    command = [*map(str, command), "--out", str(tmp_path / "run")]
    if word is not None:
        refused(capsys, command, name, word)
        assert not (tmp_path / "run").exists()
        return
    assert cli.main(command) == 0
    assert files.read_settings(tmp_path / "run")["images"] == 5  # of seven, two held out
    capsys.readouterr()
    refused(capsys, [*command[:-1], tmp_path / "strict", "--no-resize"], "0.png has shape")


@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_photos_are_counted(tmp_path, capsys, n):
    refused(capsys, mine_with(tmp_path / "run", "--target", folder(tmp_path, n)), f"holds {n} images", "at least 4")
    assert not (tmp_path / "run").exists()


def test_without_a_name_a_run_is_called_after_its_source_and_target(tmp_path, capsys, monkeypatch):
    photos = folder(tmp_path, 6)
    monkeypatch.chdir(tmp_path)
    command = ["mine", "--source", "mnist-no-9", "--steps", "1", "--batch", "2", "--device", "cpu"]
    assert cli.main([*command, "--target", f"{photos.name}/"]) == 0
    told = capsys.readouterr()
    run = Path("runs/mnist-no-9-images")
    assert f"see {run / NAME} grow" in told.err
    assert f"next: minegan-lite evaluate {run} " in told.out
    assert sorted(os.listdir(run)) == [NAME, "run.json", "state.pt"]
    named = {
        (("mnist-only-06", "mnist-only-17"), "mnist:0=0.3,7=0.7"): "mnist-only-06-mnist-only-17-mnist-0=0.3-7=0.7",
        (("weights/G_ema.pth",), str(photos)): "G_ema-images",
        (("mnist-cond-no-9:4",), "uci-digits:9"): "mnist-cond-no-9-4-uci-digits-9",
        (("mnist-no-9",), "../../x"): "mnist-no-9-..-..-x",
    }
    for (sources, target), name in named.items():
        args = cli.build_parser().parse_args(["mine", "--source", *sources, "--target", target])
        assert cli_runs.named_out(args) == Path("runs") / name
    args = cli.build_parser().parse_args(["mine", "--generator", "nets:gan", "--target", "."])
    assert cli_runs.named_out(args) == Path("runs") / f"nets-gan-{tmp_path.name}"


def test_a_run_is_watched_in_one_picture_that_is_named_once(nine, tmp_path, capsys):
    run, before = tmp_path / "run", []
    for steps in ("55", "60"):
        assert cli.main([*MINE, "--steps", steps, "--batch", "4", "--out", str(run)]) == 0
        before.append(capsys.readouterr().err)
        assert before[-1].count("grow") == 1
        assert f"see {run / NAME} grow" in before[-1]
        assert "mine uci-digits:9 on cpu: 100%" in before[-1]
    rows = read_rows(run / NAME)
    assert list(rows) == [0, 50, 55, 60]
    mined = load(run)
    assert rows[0].tobytes() == strip(Unmined(mined.sources).sample(SAMPLES, seed=SEED)).tobytes()
    assert rows[60].tobytes() == strip(mined.sample(SAMPLES, seed=SEED)).tobytes()
    assert cli.main(["finetune", str(run), "--steps", "1", "--batch", "4", "--device", "cpu"]) == 0
    tuned = read_rows(tmp_path / "run-finetuned" / NAME)
    assert list(tuned) == [0, 1]
    assert tuned[0].tobytes() == rows[60].tobytes()
    assert tuned[1].tobytes() == strip(load(tmp_path / "run-finetuned").sample(SAMPLES, seed=SEED)).tobytes()


def test_without_thumbnails_all_else_is_the_same(nine, tmp_path, capsys):
    assert cli.main([*MINE, "--steps", "4", "--no-thumbnails", "--out", str(tmp_path / "run")]) == 0
    assert cli.main(["finetune", str(nine), "--steps", "1", "--device", "cpu", "--no-thumbnails", "--out",
                     str(tmp_path / "tuned")]) == 0  # fmt: skip
    assert NAME not in capsys.readouterr().err
    for run in ("run", "tuned"):
        assert sorted(os.listdir(tmp_path / run)) == ["run.json", "state.pt"]
    assert NAME in os.listdir(nine)
    for name in ("run.json", "state.pt"):
        assert (tmp_path / "run" / name).read_bytes() == (nine / name).read_bytes()


def test_bad_output_paths_are_refused_and_untouched(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/thesis.tex").write_text("mine")
    refused(capsys, mine_with(tmp_path / "file"), "is a file")
    refused(capsys, mine_with(tmp_path / "thesis"), "occupied")
    refused(capsys, mine_with("/proc/minegan" if os.geteuid() == 0 else "/minegan"), "cannot write")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "thesis", "thesis.tex"]


def test_changed_arguments_are_refused_with_the_reason(nine, capsys):
    before = (nine / "state.pt").read_bytes()
    refused(capsys, [*MINE, "--steps", "3", "--out", nine], "steps was 4 and is now 3")
    refused(capsys, [*MINE, "--steps", "8", "--batch", "32", "--out", nine], "batch was 64 and is now 32")
    assert (nine / "state.pt").read_bytes() == before


@pytest.mark.parametrize("arguments", [["mine"], ["sample"], ["evaluate"], ["finetune"], ["run"]])
def test_an_empty_path_is_not_the_current_folder(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    tail = {"mine": ["--source", "mnist-no-9", "--target", "mnist:9", "--out", ""], "run": ["x", "--out", ""]}
    refused(capsys, [*arguments, *tail.get(arguments[0], [""])], "must not be empty")
    assert list(tmp_path.iterdir()) == []


def test_more_steps_go_on_and_equal_those_made_at_once(tmp_path):
    for steps in ("2", "4"):
        assert cli.main([*MINE, "--steps", steps, "--save-every", "1", "--out", str(tmp_path / "grown")]) == 0
    assert cli.main([*MINE, "--steps", "4", "--save-every", "1", "--out", str(tmp_path / "whole")]) == 0
    assert files.read_settings(tmp_path / "grown") == files.read_settings(tmp_path / "whole")
    grown, whole = (files.read_state(tmp_path / name) for name in ("grown", "whole"))
    assert [entry["step"] for entry in grown["history"]] == [2, 4]  # the end of a run is always logged
    assert grown["history"][-1:] == whole["history"]
    same = {"history": None}
    torch.testing.assert_close(grown | same, whole | same, rtol=0, atol=0)


def test_a_run_from_within_it(nine, tmp_path, monkeypatch, capsys):
    shutil.copytree(nine, tmp_path / "nine")
    monkeypatch.chdir(tmp_path / "nine")
    assert cli.main(["finetune", ".", "--steps", "1", "--device", "cpu"]) == 0
    assert files.read_settings(tmp_path / "nine-finetuned")["stage"] == "finetune"
    assert sorted(os.listdir(tmp_path / "nine")) == sorted(os.listdir(nine))


def test_an_unfinished_run_tells_its_step(nine, tmp_path, capsys):
    shutil.copytree(nine, tmp_path / "run")
    record = json.loads((tmp_path / "run/run.json").read_text())
    (tmp_path / "run/run.json").write_text(json.dumps(record | {"steps": 600}))
    refused(capsys, ["finetune", tmp_path / "run"], "step 4 of 600")


def content(folder: Path) -> dict:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_picture_never_overwrites_what_it_is_made_from(nine, tmp_path, capsys, monkeypatch):
    run, target = tmp_path / "run", folder(tmp_path, 8)
    command = ["mine", "--source", "mnist-no-9", "--target", str(target), "--steps", "1", "--device", "cpu"]
    assert cli.main([*command, "--out", str(run)]) == 0
    torch.save(FILES["sngan-mimicry"](), tmp_path / "G.pth")
    (tmp_path / "link.png").symlink_to(run / "state.pt")
    os.link(run / "run.json", tmp_path / "hard.png")
    capsys.readouterr()
    before = content(tmp_path)
    monkeypatch.chdir(run)
    for out in ("state.pt", "run.json", "../run/state.pt", run / "state.pt", "../link.png", "../hard.png",
                target / "0.png", target / "new.png"):  # fmt: skip
        refused(capsys, ["sample", ".", "--out", out], "overwrite")
    refused(capsys, ["sample", "--checkpoint", tmp_path / "G.pth", "--out", "../G.pth"], "overwrite")
    refused(capsys, ["sample", ".", "--out", "/dev/null"], "not a file")
    refused(capsys, [*command, "--out", target / "run"], "among the images")
    assert content(tmp_path) == before


def test_a_folder_that_is_being_written_is_left_alone(nine, tmp_path, capsys):
    shutil.copytree(nine, tmp_path / "run")
    before = content(tmp_path)
    with locked(tmp_path / "run"):
        refused(capsys, [*MINE, "--steps", "8", "--out", tmp_path / "run"], "another process")
        refused(capsys, ["finetune", nine, "--out", tmp_path / "run"], "another process")
        assert cli.main(["sample", str(tmp_path / "run"), "--n", "1", "--out", str(tmp_path / "new.png")]) == 0
    (tmp_path / "new.png").unlink()
    assert content(tmp_path) == before


def test_more_images_than_memory_holds_are_refused(nine, capsys):
    for command in ("sample", "evaluate"):
        refused(capsys, [command, nine, "--n", str(10**12)], "take fewer")
    refused(capsys, ["finetune", nine, "--batch", str(10**9), "--out", nine.with_name("x")], "take fewer")
    assert not nine.with_name("x").exists()


EDITS = {
    "steps": ["many", None, -1, [], 10**30], "hidden": ["x", 3, [1e9]], "sources": [5, [], [5], "none"],
    "source_sha256": [None, "0"], "target_request": [3, {}, {"source": "mnist"}, {"source": 3, "image_shape": "x"}],
    "target_sha256": [3], "betas": [3, ["a"]], "init": [7], "activation": [[]], "stage": [None, "finetune"],
    "sample_average": [[]], "critic_from": [7, "x"], "seed": [1 << 70], "input_dim": [3],
    "source_requests": [3, [{}], [{"python": 3}], [{"file": "nowhere.pth"}]], "precision": [3], "objective": [None],
    "miners": [None, 3, [], [3], [{}], "x"], "critic_like": [7, "x", [], 1.5], "generators_sha256": [None, "0", 3],
}  # fmt: skip


def test_whatever_was_edited_in_a_run_never_ends_in_a_traceback(nine, tmp_path, capsys):
    shutil.copytree(nine, tmp_path / "run")
    record = json.loads((nine / "run.json").read_text())
    state = files.read_state(nine)
    ends = []

    def attempt(what):
        evaluate = [["evaluate", "--n", "50"]] if what[0].startswith("target") else []  # the others sample has read
        for command in (["sample", "--n", "1"], *evaluate):
            arguments = [command[0], str(tmp_path / "run"), *command[1:]]
            code = cli.main(arguments)
            told = capsys.readouterr()
            assert code in (0, 2), (what, told)
            assert told.err.count("\n") == (code == 2), (what, told)
            ends.append(code)

    for key, values in EDITS.items():
        for value in values:
            (tmp_path / "run/run.json").write_text(json.dumps(record | {key: value}))
            attempt((key, value))
    assert ends.count(2) > len(ends) / 2
    (tmp_path / "run/run.json").write_text(json.dumps(record))
    parts = [("miners", {}), ("miners", 3), ("miners", None), ("critic", []), ("selector", {}), ("optimizer", {}),
             ("miners_average", state["critic"]), ("rngs", []), ("history", [])]  # fmt: skip
    for key, value in parts:
        rest = {name: part for name, part in state.items() if name != key}
        torch.save(rest if value is None else rest | {key: value}, tmp_path / "run/state.pt")
        attempt((key, value))
    for part in ("miners", "miners_average"):
        changed = {name: x * float("nan") for name, x in state[part].items() if x.is_floating_point()}
        torch.save(state | {part: state[part] | changed}, tmp_path / "run/state.pt")
        refused(capsys, ["sample", tmp_path / "run", "--n", "1"], "not finite")


def test_one_class_of_a_conditional_source(tmp_path, capsys):
    run = tmp_path / "run"
    command = ["mine", "--source", "mnist-cond-no-9:4", *MINE[3:], "--steps", "2", "--out", str(run)]
    assert cli.main(command) == 0
    record = files.read_settings(run)
    assert (record["sources"], record["source_requests"]) == (["mnist-cond-no-9:4"], None)
    assert cli.main(["sample", str(run), "--n", "4"]) == 0
    assert cli.main(["finetune", str(run), "--steps", "1", "--device", "cpu"]) == 0
    assert load(f"{run}-finetuned").gan.generator.label == 4


def test_a_public_checkpoint_and_its_critic_are_mined_with_ones_own_images(tmp_path, capsys):
    torch.save(FILES["biggan-studiogan"](), tmp_path / "G.pth")
    torch.save(critic_state(), tmp_path / "D.pth")
    gan = checkpoints.load(tmp_path / "G.pth")
    size = gan.generator.image_shape[-1]
    photos, run = folder(tmp_path, 8, (size + 3, size), "RGB"), tmp_path / "run"
    command = [
        "mine", "--source", tmp_path / "G.pth", "--target", photos, "--resize", "--steps", "2", "--device", "cpu",
        "--batch", "2", "--miner-lr", "0.002", "--critic-lr", "0.0005", "--out", run,
    ]  # fmt: skip
    command = [str(word) for word in [*command, "--critic", tmp_path / "D.pth", "--layout", "biggan-studiogan"]]
    assert cli.main(command) == 0
    first, *_ = capsys.readouterr().err.splitlines()
    preset, rates = "preset paper-biggan (family biggan)", "learning rates critic 0.0005, miner 0.002"
    assert first == f"G: {preset}: hinge loss, {rates}, batch 2"
    record = files.read_settings(run)
    assert (record["sources"], record["critic_like"], record["loss"]) == (["G"], 0, "hinge")
    assert (record["batch"], record["miner_lr"], record["critic_lr"]) == (2, 0.002, 0.0005)
    assert cli.main(["sample", str(run), "--n", "4", "--out", str(tmp_path / "before.png")]) == 0
    assert (
        cli.main(["finetune", str(run), "--steps", "1", "--batch", "2", "--generator-lr", "0.1", "--device", "cpu"])
        == 0
    )
    capsys.readouterr()
    refused(capsys, ["sample", run, "--out", tmp_path / "D.pth"], "overwrite")
    found = load(run)
    assert (
        minegan_lite.load(run, gan=checkpoints.load(tmp_path / "G.pth", critic=tmp_path / "D.pth"))
        .sample(2)
        .equal(found.sample(2))
    )
    (tmp_path / "G.pth").rename(tmp_path / "moved.pth")
    refused(capsys, ["sample", run], "cannot be read", "G.pth")


def test_a_public_checkpoint_without_a_critic_starts_with_a_fresh_one(tmp_path):
    torch.save(FILES["sngan-mimicry"](), tmp_path / "G.pth")
    photos, run = folder(tmp_path, 6, (40, 40), "RGB"), tmp_path / "run"
    command = ["mine", "--source", tmp_path / "G.pth", "--target", photos, "--resize", "--steps", "1", "--batch", "2"]
    assert cli.main([*map(str, command), "--device", "cpu", "--out", str(run)]) == 0
    record = files.read_settings(run)
    assert (record["critic_like"], record["preset"]) == (None, "paper-sngan")


def test_a_source_that_only_python_had_must_be_given(tmp_path):
    from tests.tiny import tiny_gan, tiny_target

    gan = tiny_gan()
    training.mine(gan, tiny_target(), steps=1, batch=2, out=tmp_path / "run", progress=False, device="cpu")
    with pytest.raises(UserError, match="load\\(path, gan\\) or --generator module:function"):
        load(tmp_path / "run")
    assert load(tmp_path / "run", gan).sample(2).shape == (2, 1, 6, 6)


@pytest.mark.parametrize("command", [["--help"], ["mine", "--help"], ["--version"], ["mine"]])
def test_what_needs_no_torch_does_not_wait_for_it(command):
    code = (
        "import sys\nfrom minegan_lite import cli\ntry:\n    cli.main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print(*[name for name in ('torch', 'numpy', 'PIL') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == ""
    assert done.returncode == 0


@pytest.mark.parametrize("after", [0.0, 0.2, 1.0])
def test_an_interruption_while_torch_is_imported_is_one_line(tmp_path, after):
    code = """
import sys
from minegan_lite import cli
class Seen:
    def find_spec(self, name, *_):
        if name == "torch":
            print("torch", flush=True)
sys.meta_path.insert(0, Seen())
sys.exit(cli.main(["sample", sys.argv[1]]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "torch\n"
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    if "is not a run folder" not in told:  # on a fast machine it may have come to its end, or be about to leave
        assert process.returncode == 130
        assert told == "minegan-lite: interrupted\n"


def test_every_public_name_is_there():
    for name in minegan_lite.__all__:
        assert getattr(minegan_lite, name).__name__.rpartition(".")[2] == name
    assert set(minegan_lite.__all__) <= set(dir(minegan_lite))
    for name in ("nothing", "_nothing", "__wrapped__"):
        with pytest.raises(AttributeError, match=name):
            getattr(minegan_lite, name)


def test_diverged_and_a_full_disk_have_statuses_of_their_own(nine, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    assert cli.main([*MINE, "--steps", "4", "--miner-lr", "1e30", "--out", str(run)]) == 3
    assert "diverged" in capsys.readouterr().err

    def full(*_):
        raise OSError(28, "No space left on device")

    shutil.copytree(nine, tmp_path / "again")
    monkeypatch.setattr(files.os, "fsync", full)
    assert cli.main([*MINE, "--steps", "8", "--out", str(tmp_path / "again")]) == 4
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"minegan-lite: error: No space left on device: {terminal.GOES_ON}"


def test_nothing_goes_on_where_nothing_was_kept(nine, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(mined, "load", interrupted)
    for command in ("sample", "evaluate"):
        assert cli.main([command, str(nine)]) == 130
        assert capsys.readouterr().err == "minegan-lite: interrupted\n"


@pytest.mark.parametrize("command", ["sample", "evaluate", "finetune"])
def test_what_is_no_run_is_refused(tmp_path, capsys, command):
    refused(capsys, [command, tmp_path / "nowhere"], "not a run folder")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text('{"steps": 4}')
    refused(capsys, [command, tmp_path / "run"], "no checkpoint yet")
    assert [p.name for p in tmp_path.rglob("*")] == ["run", "run.json"]


def test_a_damaged_weight_file_is_refused(tmp_path, capsys, monkeypatch):
    from minegan_lite import zoo

    copy = tmp_path / "weights"
    copy.mkdir()
    for file in zoo.WEIGHTS.iterdir():
        content = file.read_bytes()
        (copy / file.name).write_bytes(content[:-1] + b"\0" if file.name == "mnist-no-9.safetensors" else content)
    for function in (zoo.load, zoo.load_all, zoo.names, zoo.entries, zoo.verify, zoo.load_classifier):
        monkeypatch.setattr(function, "__defaults__", (copy,))
    refused(capsys, mine_with(tmp_path / "run"), "mnist-no-9", "damaged")
    assert not (tmp_path / "run").exists()
    assert cli.main(["zoo", "verify"]) == 2
    told = capsys.readouterr()
    assert "BAD mnist-no-9" in told.out
    assert told.err.count("\n") == 1


def test_zoo_lists_and_verifies(capsys):
    assert cli.main(["zoo"]) == 0
    assert "mnist-no-9" in capsys.readouterr().out
    assert cli.main(["zoo", "verify"]) == 0
    assert "BAD" not in capsys.readouterr().out


def test_run_refuses_unknown_chapters_and_tiers(capsys, tmp_path):
    refused(capsys, ["run", "nonsense", "--out", tmp_path / "out"], "nonsense")
    refused(capsys, ["run", "off_manifold_digits", "--tier", "huge", "--out", tmp_path / "out"], "huge")
    refused(capsys, ["run", "--out", tmp_path / "out"], "CHAPTER", "--all")
    refused(capsys, ["run", "off_manifold_digits", "--all", "--out", tmp_path / "out"], "--all")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_chapter_is_told_in_one_line(capsys, monkeypatch, tmp_path):
    import nbformat

    from minegan_lite.chapters import runner

    real, broken = runner.book, tmp_path / "book"
    broken.mkdir()
    (broken / "_toc.yml").write_text("format: jb-book\nroot: off_manifold_digits\n")
    notebook = nbformat.read(real() / "off_manifold_digits.ipynb", as_version=4)
    notebook.cells = [*runner.tagged(notebook, "parameters"), nbformat.v4.new_code_cell("1 / 0")]
    nbformat.write(notebook, broken / "off_manifold_digits.ipynb")
    monkeypatch.setattr(runner, "book", lambda: broken)
    with pytest.raises(SystemExit) as left:
        cli.main(["run", "off_manifold_digits", "--tier", "smoke", "--out", str(tmp_path / "out")])
    assert "ZeroDivisionError" in left.value.code
    assert "\n" not in left.value.code


def test_run_all_executes_every_chapter_also_after_one_that_fails(capsys, monkeypatch, tmp_path):
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    from minegan_lite.chapters import runner

    (tmp_path / "book/tiers").mkdir(parents=True)
    toc = {"format": "jb-book", "root": "broken", "chapters": [{"file": "whole"}]}
    (tmp_path / "book/_toc.yml").write_text(json.dumps(toc))
    (tmp_path / "book/tiers/smoke.yml").write_text(json.dumps({"broken": {"seed": 1}, "whole": {"seed": 1}}))
    for name, source in {"broken": "1 / 0", "whole": "print(seed)"}.items():
        parameters = new_code_cell("seed = 0", metadata={"tags": ["parameters"]})
        nbformat.write(new_notebook(cells=[parameters, new_code_cell(source)]), tmp_path / f"book/{name}.ipynb")
    monkeypatch.setattr(runner, "_PACKAGE", tmp_path / "minegan_lite")
    with pytest.raises(SystemExit) as left:
        cli.main(["run", "--all", "--tier", "smoke", "--out", str(tmp_path / "out")])
    assert "broken: cell 3 failed with ZeroDivisionError" in left.value.code
    assert "\n" not in left.value.code
    assert capsys.readouterr().out.strip() == str(tmp_path / "out/whole.ipynb")


def test_doctor_runs(capsys):
    assert cli.main(["doctor"]) == 0
    assert "weights" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", [[], ["mine"], ["finetune"], ["sample"], ["evaluate"], ["zoo"], ["run"], ["doctor"]]
)
def test_help_teaches(capsys, command):
    with pytest.raises(SystemExit) as left:
        cli.main([*command, "--help"])
    assert left.value.code == 0
    told = capsys.readouterr().out
    assert "usage: minegan-lite" in told
    if command in ([], ["mine"]):
        assert "mnist:9" in told
        assert "mine --source celeba-dcgan-64 --target photos/" in told


def test_no_command_is_wrong_use(capsys):
    refused(capsys, [], "COMMAND")
