"""The command line with a GAN of one's own, with saved miners, and with every setting that replaces a preset's."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from minegan_lite import cli, files, terminal
from minegan_lite.errors import UserError
from minegan_lite.mined import load
from tests.test_cli import MINE, content, mine_with, refused

NETS = """
import sys

import torch
from torch import nn

from minegan_lite import GAN


class Net(nn.Module):
    def __init__(self, classes=0):
        super().__init__()
        self.map, self.rows = nn.Linear(4, 784), nn.Embedding(classes, 4) if classes else None

    def forward(self, z, *labels):
        return torch.tanh(self.map(z + self.rows(labels[0]) if labels else z)).view(-1, 1, 28, 28)


def net(classes=0):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net(classes)


def gan():
    return GAN.wrap(net(), latent_dim=4, name="drawn")


def by_class():
    return GAN.wrap(net(2), latent_dim=4, name="drawn", classes=2)


def bare():
    return net()


def two():
    return gan(), gan()


def unsaid():
    return GAN.wrap(net())


def needs(argument):
    return gan()


def raises():
    raise KeyError("weights\\nof last year")


def leaves():
    sys.exit(0)


number = 3
"""
OTHERS = {"cut": "def gan(:", "lacking": "import nowhere_to_be_found", "leaving": "raise SystemExit(0)"}


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A folder with modules of one's own, which is the current one; none of them is imported yet."""
    for name, text in {"own_nets": NETS, **OTHERS}.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    forget()


def forget() -> None:
    """Has the modules of one's own imported anew, as another process would."""
    for name in ("own_nets", *OTHERS):
        sys.modules.pop(name, None)


def mine_own(function: str, out: Path) -> list[str]:
    words = ["mine", "--generator", f"own_nets:{function}", *MINE[3:], "--steps", "2", "--batch", "4"]
    return [*words, "--out", str(out)]


# --- --generator ------------------------------------------------------------------------------------------------------


def test_a_function_of_ones_own_is_mined_and_found_again(nets, capsys):
    run, path = nets / "run", list(sys.path)
    assert cli.main(mine_own("gan", run)) == 0
    assert sys.path == path
    record = files.read_settings(run)
    assert (record["sources"], record["source_requests"]) == (["drawn"], [{"python": "own_nets:gan"}])
    assert "drawn: preset default (family wgan-gp)" in capsys.readouterr().err
    forget()
    assert cli.main(["sample", str(run), "--n", "4"]) == 0
    assert cli.main(["evaluate", str(run), "--n", "200"]) == 0
    assert cli.main(["finetune", str(run), "--steps", "1", "--batch", "4", "--device", "cpu"]) == 0
    assert files.read_settings(nets / "run-finetuned")["source_requests"] == [{"python": "own_nets:gan"}]
    before = content(run)
    assert cli.main(mine_own("gan", run)) == 0  # finished: nothing is left to do
    assert content(run) == before
    forget()
    capsys.readouterr()
    (nets / "own_nets.py").rename(nets / "elsewhere.py")
    refused(capsys, ["evaluate", run], "own_nets:gan: no module own_nets in")


def test_the_classes_of_ones_own_gan_are_found_by_name(nets, capsys):
    run = nets / "run"
    assert cli.main(mine_own("by_class", run)) == 0
    assert files.read_settings(run)["sources"] == ["drawn:0", "drawn:1"]
    assert list(load(run).probabilities) == ["drawn:0", "drawn:1"]
    (run / "run.json").write_text((run / "run.json").read_text().replace("drawn:1", "drawn:7"))
    capsys.readouterr()
    refused(capsys, ["sample", run], "mined from drawn:7", "now called drawn")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("own_nets", ["names no function", "module:function"]),
        ("own_nets:", ["names no function"]),
        (":gan", ["names no function"]),
        ("own_nets:gan()", ["names no function"]),
        ("../own_nets:gan", ["names no function"]),
        ("nowhere:gan", ["no module nowhere in"]),
        ("own_nets.deeper:gan", ["no module own_nets.deeper in"]),
        ("cut:gan", ["cut cannot be imported: SyntaxError"]),
        ("lacking:gan", ["lacking cannot be imported: ModuleNotFoundError", "nowhere_to_be_found"]),
        ("leaving:gan", ["leaving cannot be imported: SystemExit"]),
        ("own_nets:nothing", ["own_nets has no function nothing"]),
        ("own_nets:number", ["own_nets has no function number"]),
        ("own_nets:needs", ["needs() failed: TypeError", "argument"]),
        ("own_nets:raises", ["raises() failed: KeyError"]),
        ("own_nets:leaves", ["leaves() failed: SystemExit"]),
        ("own_nets:unsaid", ["does not say how long z is"]),
        ("own_nets:bare", ["must return a GAN", "returned a Net"]),
        ("own_nets:two", ["must return a GAN", "returned a tuple"]),
    ],
)
def test_what_is_no_function_for_a_gan_is_told_in_one_line(nets, capsys, function, words):
    before = content(nets)
    command = ["mine", "--generator", function, "--target", "mnist:9", "--steps", "1", "--out", nets / "run"]
    refused(capsys, command, *words)
    assert content(nets) == before
    assert "" not in sys.path[:1]


def test_a_generator_goes_without_what_is_a_files(nets, capsys):
    own = ["mine", "--generator", "own_nets:gan", "--target", "mnist:9", "--out", nets / "run"]
    refused(capsys, [*own, "--critic", "D.pth"], "--critic", "gives its critic itself")
    refused(capsys, [*own, "--source", "mnist-no-9"], "--source", "--generator")
    refused(capsys, ["mine", "--target", "mnist:9", "--out", nets / "run"], "--source", "--generator")
    refused(capsys, ["sample", "--checkpoint", "G.pth", "--generator", "own_nets:gan"], "--generator")
    assert "own_nets" not in sys.modules
    assert not (nets / "run").exists()


def test_a_run_of_python_is_read_with_its_generator(nets, capsys):
    from minegan_lite import mine
    from minegan_lite.sources import from_python

    fast = {"steps": 1, "batch": 2, "progress": False, "device": "cpu"}
    gan = from_python("own_nets:gan")
    mine(gan.__class__(gan.generator, None, gan.prior, "of Python"), torch.zeros(4, 1, 28, 28) - 1, out="run", **fast)
    refused(capsys, ["sample", "run"], "mined from of Python", "--generator module:function")
    assert cli.main(["sample", "run", "--n", "2", "--generator", "own_nets:gan"]) == 0


# --- saved miners -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nine(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("own") / "nine"
    assert cli.main([*MINE, "--steps", "4", "--out", str(run)]) == 0
    return run


def test_a_saved_miner_takes_its_runs_place(nine, tmp_path, capsys):
    half, whole = str(tmp_path / "half.safetensors"), str(tmp_path / "whole.safetensors")
    capsys.readouterr()
    assert cli.main(["save", str(nine), "--out", half]) == 0
    assert capsys.readouterr().out == f"{half}\n"
    assert cli.main(["save", str(nine), "--out", whole, "--float32"]) == 0
    assert Path(half).stat().st_size < Path(whole).stat().st_size < 300_000
    run = load(nine).sample(8)
    assert torch.equal(load(whole).sample(8), run)
    assert 0 < (load(half).sample(8) - run).abs().max() < 0.02
    told = []
    for one in (str(nine), whole):
        capsys.readouterr()
        assert cli.main(["evaluate", one, "--n", "200", "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0] == told[1]
    assert cli.main(["sample", half, "--n", "3"]) == 0
    assert capsys.readouterr().out == f"{half}.png\n"
    with Image.open(f"{half}.png") as picture:
        assert picture.size == (2 * (3 * 29 + 1), 2 * (29 + 1))


def test_a_tuned_run_is_saved_with_its_generator(nine, tmp_path):
    tuned, file = str(tmp_path / "tuned"), str(tmp_path / "tuned.safetensors")
    assert cli.main(["finetune", str(nine), "--steps", "1", "--device", "cpu", "--out", tuned]) == 0
    assert cli.main(["save", tuned, "--out", file, "--float32"]) == 0
    assert torch.equal(load(file).sample(4), load(tuned).sample(4))


def test_what_cannot_be_saved_or_read_is_refused_and_nothing_is_overwritten(nine, tmp_path, capsys):
    shutil.copytree(nine, tmp_path / "run")
    file = tmp_path / "miner.safetensors"
    assert cli.main(["save", str(tmp_path / "run"), "--out", str(file)]) == 0
    capsys.readouterr()
    before = content(tmp_path)
    for own in ("run.json", "state.pt"):
        refused(capsys, ["save", tmp_path / "run", "--out", tmp_path / "run" / own], "overwrite")
    refused(capsys, ["save", tmp_path / "run", "--out", tmp_path / "nowhere/miner.safetensors"], "cannot write")
    refused(capsys, ["save", tmp_path / "run", "--out", ""], "must not be empty")
    refused(capsys, ["save", tmp_path / "run"], "--out")
    refused(capsys, ["save", tmp_path, "--out", tmp_path / "new"], "not a run folder")
    refused(capsys, ["save", file, "--out", tmp_path / "new"], "not a run folder")
    refused(capsys, ["finetune", file], "not a run folder")
    refused(capsys, ["sample", file, "--out", file], "overwrite")
    for command in ("sample", "evaluate"):
        refused(capsys, [command, file, "--raw"], "one set of weights")
        refused(capsys, [command, tmp_path / "run/run.json"], "run.json")
    assert content(tmp_path) == before
    record = json.loads((tmp_path / "run/run.json").read_text())
    (tmp_path / "run/run.json").write_text(json.dumps(record | {"steps": 600}))
    refused(capsys, ["save", tmp_path / "run", "--out", tmp_path / "new"], "step 4 of 600")
    assert not (tmp_path / "new").exists()


def test_a_file_has_no_code_run(nets, capsys):
    run, file = nets / "run", nets / "miner.safetensors"
    assert cli.main(mine_own("gan", run)) == 0
    assert cli.main(["save", str(run), "--out", str(file), "--float32"]) == 0
    expected = load(run).sample(3)
    forget()
    capsys.readouterr()
    refused(capsys, ["sample", file], "mined from own_nets:gan", "--generator own_nets:gan")
    with pytest.raises(UserError, match=r"load\(path, gan\)"):
        load(file)
    assert "own_nets" not in sys.modules
    assert cli.main(["sample", str(file), "--n", "2", "--generator", "own_nets:gan"]) == 0
    assert cli.main(["evaluate", str(file), "--n", "200", "--generator", "own_nets:gan"]) == 0
    assert torch.equal(load(file, sys.modules["own_nets"].gan()).sample(3), expected)


# --- settings ---------------------------------------------------------------------------------------------------------


def test_any_presets_values_are_replaced(tmp_path):
    run = tmp_path / "run"
    given = ["--batch", "8", "--miner-lr", "0.002", "--critic-lr", "0.003", "--precision", "bf16", "--steps", "1"]
    assert cli.main([*MINE, "--preset", "paper", *given, "--critic-from", "fresh", "--out", str(run)]) == 0
    record = files.read_settings(run)
    assert {key: record[key] for key in ("preset", "batch", "miner_lr", "critic_lr", "precision", "critic_from")} == {
        "preset": "paper", "batch": 8, "miner_lr": 0.002, "critic_lr": 0.003, "precision": "bf16",
        "critic_from": "fresh",
    }  # fmt: skip
    assert record["critic_steps"] == 5
    tuning = ["--steps", "1", "--batch", "8", "--generator-lr", "0.01", "--precision", "32", "--device", "cpu"]
    assert cli.main(["finetune", str(run), *tuning]) == 0
    record = files.read_settings(tmp_path / "run-finetuned")
    assert (record["generator_lr"], record["miner_lr"], record["precision"]) == (0.01, 4e-4, "32")


def test_several_sources_have_an_objective_and_a_first_critic(tmp_path):
    run = tmp_path / "run"
    several = ["mine", "--source", "mnist-no-9", "mnist-no-0", *MINE[3:], "--steps", "1", "--batch", "4"]
    assert cli.main([*several, "--objective", "mean", "--critic-from", "1", "--out", str(run)]) == 0
    record = files.read_settings(run)
    assert (record["objective"], record["critic_from"], record["critic_like"]) == ("mean", 1, 1)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        (["--objective", "mean"], "leave out objective"),
        (["--objective", "median"], "--objective"),
        (["--critic-from", "1"], "the first is 0"),
        (["--critic-from", "old"], "--critic-from"),
        (["--precision", "16"], "--precision"),
        (["--generator-lr", "0.1"], "--generator-lr"),
    ],
)
def test_settings_without_a_use_are_refused(tmp_path, capsys, changes, word):
    refused(capsys, mine_with(tmp_path / "run", *changes), word)
    assert list(tmp_path.iterdir()) == []


def test_a_presets_batch_must_fit_into_memory(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "_memory", lambda: 2**17)
    refused(capsys, mine_with(tmp_path / "run"), "64 images of a minibatch", "take fewer")
    assert list(tmp_path.iterdir()) == []
