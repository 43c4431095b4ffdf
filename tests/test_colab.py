"""A chapter in Colab: its own first cell installs the library in an environment that has torch and numpy, and runs.

The cell and .ci/colab, which runs it every week in Colab's image, are executed here as they stand. Only git is told
that the address means a repository on this disk, whose one commit holds what is committed here or about to be.
"""

import hashlib
import json
import os
import re
import subprocess
import sysconfig
import venv
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook

from minegan_lite import REFERENCE, __version__, zoo
from minegan_lite.chapters import runner

ROOT = Path(__file__).resolve().parents[1]
URL = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
APART = "mnist-only-23"  # a GAN that the package does not hold
HERE = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "PIP_", "MINEGAN_", "PYTHON", "JUPYTER_"))}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A function that runs git in a bare repository: one commit of the work tree, on the branch that notebooks name."""
    folder = tmp_path_factory.mktemp("origin") / "minegan-lite.git"
    subprocess.run(["git", "init", "--quiet", "--bare", f"--initial-branch={REFERENCE}", folder], check=True, env=HERE)

    def git(*arguments: str) -> bytes:
        settings = ("user.name=a", "user.email=b", "core.excludesFile=", "core.autocrlf=false", "core.compression=0")
        command = ["git", f"--git-dir={folder}", f"--work-tree={ROOT}", *(x for s in settings for x in ("-c", s))]
        return subprocess.run([*command, *arguments], cwd=ROOT, env=HERE, check=True, stdout=subprocess.PIPE).stdout

    git("add", "--all", ".")
    git("commit", "--quiet", "--no-gpg-sign", "--no-verify", "--message", "the work tree")
    git.folder = folder
    return git


@pytest.fixture(scope="module")
def colab(tmp_path_factory, repository):
    """A new environment that shares the packages of this one, but for this project, and a way to run .ci/colab there.

    .site: where pip installs; .run(out, *notebooks, **variables): the finished process, without network.
    """
    folder = tmp_path_factory.mktemp("colab")
    shared, machine = folder / "shared", folder / "machine"
    shared.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "minegan_lite" not in path.name:
            (shared / path.name).symlink_to(path)
    venv.create(machine, with_pip=False, symlinks=True)  # pip is shared too
    (site,) = machine.glob("lib/python*/site-packages")
    (site / "shared.pth").write_text(f"{shared}\n")

    def run(out: Path, *notebooks: Path, **variables: str) -> subprocess.CompletedProcess:
        environment = HERE | {
            "PATH": f"{machine / 'bin'}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder), "OUT": str(out),
            "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip's own logic: 0 leaves isolation off, for which there is no network
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{repository.folder}.insteadOf",
            "GIT_CONFIG_VALUE_0": URL, "MINEGAN_CACHE": str(folder / "cache"), "MINEGAN_OFFLINE": "1",
        } | variables  # fmt: skip
        command = [ROOT / ".ci" / "colab", *notebooks]
        return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)

    return SimpleNamespace(run=run, site=site)


def notebook(path: Path, *sources: str) -> Path:
    nbformat.write(new_notebook(metadata=runner.METADATA, cells=[new_code_cell(source) for source in sources]), path)
    return path


def first_cell(chapter: str) -> str:
    cells = nbformat.read(runner.book() / f"{chapter}.ipynb", as_version=4).cells
    return next(cell.source for cell in cells if cell.cell_type == "code")


CHECK = """
import os, sys
from minegan_lite import few_shot, mine, zoo

assert minegan_lite.__file__.startswith(sys.prefix), minegan_lite.__file__
target = few_shot("mnist", digit=9, n=8, seed=0)
assert target.origin == "mnist"
mined = mine(zoo.load("mnist-no-9"), target, steps=2, seed=0, progress=False)
assert mined.sample(2, seed=0).shape == (2, 1, 28, 28)

assert not zoo.here({apart!r})
os.environ["MINEGAN_OFFLINE"] = "0"
zoo.REMOTE = zoo.REMOTE.replace({url!r} + "/", {server!r})
print(zoo.load({apart!r}).name, "was fetched")
"""


def test_the_first_cell_of_a_notebook_installs_what_the_notebook_needs(repository, colab, serve, tmp_path):
    served = tmp_path / "raw" / REFERENCE / "weights" / f"{APART}.safetensors"
    served.parent.mkdir(parents=True)
    served.write_bytes(repository("show", f"{REFERENCE}:weights/{served.name}"))
    check = CHECK.format(apart=APART, url=URL, server=serve(tmp_path))
    install = first_cell("off_manifold_digits")
    chapter = notebook(tmp_path / "chapter.ipynb", install, check)
    before = {path.name for path in colab.site.iterdir()}

    done = colab.run(tmp_path / "out", chapter)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^chapter ran\nminegan-lite +{__version__}$", done.stdout, re.M)  # … what doctor says

    ran = nbformat.read(tmp_path / "out" / "chapter.ipynb", as_version=4).cells
    assert ran[0].source == install
    assert f"minegan-lite {__version__} · python " in "".join(o.get("text", "") for o in ran[0].outputs)
    assert f"{APART} was fetched" in "".join(o.get("text", "") for o in ran[1].outputs)

    # pip took everything else as it was
    packages = {path.name for path in colab.site.iterdir()} - before - {"__pycache__"}
    assert packages == {"minegan_lite", f"minegan_lite-{__version__}.dist-info"}
    origin = json.loads((colab.site / f"minegan_lite-{__version__}.dist-info" / "direct_url.json").read_text())
    assert origin["url"] == URL
    assert origin["vcs_info"]["requested_revision"] == REFERENCE
    assert origin["vcs_info"]["commit_id"] == repository("rev-parse", REFERENCE).decode().strip()


def test_a_chapter_that_fails_is_named_with_its_error_and_the_address_can_be_another(colab, tmp_path):
    source = f'1 / 0  # %pip install -q "minegan-lite @ git+{URL}@{REFERENCE}"'
    bad, never = notebook(tmp_path / "bad.ipynb", source), notebook(tmp_path / "never.ipynb", "1")
    done = colab.run(tmp_path / "out", bad, never, INSTALL_FROM="git+https://example.org/fork@c0ffee")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "bad: ZeroDivisionError: division by zero"
    assert not (tmp_path / "out" / "never.ipynb").exists()
    ran = nbformat.read(tmp_path / "out" / "bad.ipynb", as_version=4).cells
    assert ran[-1].source == '1 / 0  # %pip install -q "minegan-lite @ git+https://example.org/fork@c0ffee"'


def test_another_numpy_is_noticed(colab, tmp_path):
    other = colab.site / "numpy-0.1.dist-info"
    install = f"from pathlib import Path\nfolder = Path({str(other)!r})\nfolder.mkdir()"
    write = '(folder / "METADATA").write_text("Metadata-Version: 2.1\\nName: numpy\\nVersion: 0.1\\n")'
    done = colab.run(tmp_path / "out", notebook(tmp_path / "greedy.ipynb", install, write))
    (other / "METADATA").unlink()
    other.rmdir()
    assert done.returncode == 1
    assert "greedy: installing minegan-lite changed numpy, torch, torchvision: " in done.stderr.splitlines()[-1]
    assert "is now 0.1 " in done.stderr.splitlines()[-1]


def test_what_lies_beside_the_package_is_where_an_installed_package_looks(repository):
    listed = json.loads(repository("show", f"{REFERENCE}:minegan_lite/weights/manifest.json"))
    apart = [entry for entry in listed.values() if not entry["packaged"]]
    assert {entry["file"] for entry in apart} >= {f"{APART}.safetensors", "mnist-no-0.safetensors"}
    for entry in apart:
        address = zoo.REMOTE.format(reference=REFERENCE, file=entry["file"])
        start = f"{URL}/raw/{REFERENCE}/"
        assert address.startswith(start)
        content = repository("show", f"{REFERENCE}:{address.removeprefix(start)}")
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], entry["file"]
