"""What the project's files say of each other: one list of dependencies, one version, one address, one way to check."""

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from identify.vendor.licenses import LICENSES
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from pybtex.database import parse_file
from pybtex.richtext import Text

import minegan_lite

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
PYTHONS = [f"3.{minor}" for minor in range(30)]
TEXT = {".cff", ".cfg", ".css", ".ipynb", ".js", ".json", ".lock", ".md", ".py", ".toml", ".yaml", ".yml", ""}


def locked() -> dict[str, Version]:
    return {canonicalize_name(name): Version(v) for name, v in re.findall(r"^([\w.-]+)==([^ ;\\]+)", LOCK, re.M)}


def wanted() -> list[Requirement]:
    return [Requirement(line) for lines in (PROJECT["dependencies"], *EXTRAS.values()) for line in lines]


def test_lock_satisfies_every_dependency():
    versions = locked()
    for requirement in wanted():
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), requirement


def test_lock_was_compiled_from_this_list():
    """uv notes who asked for each package: those that the project asked for are those that it lists."""
    asked = re.findall(r"^([\w.-]+)==(?:(?!^\S)[\s\S])*?minegan-lite \(pyproject\.toml\)", LOCK, re.M)
    assert {canonicalize_name(name) for name in asked} == {canonicalize_name(r.name) for r in wanted()}


def test_every_locked_package_has_a_hash():
    blocks = re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.M)[1:]
    assert len(blocks) == len(locked()) > 100
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_torchvision_works_with_the_locked_torch():
    needs = [Requirement(line) for line in importlib.metadata.requires("torchvision")]
    (torch,) = [requirement for requirement in needs if requirement.name == "torch"]
    assert importlib.metadata.version("torchvision") == str(locked()["torchvision"])
    assert torch.specifier.contains(locked()["torch"])


def test_colab_keeps_its_torch_and_numpy():
    """Lower bounds only, of everything that an installation without extras brings."""
    for requirement in map(Requirement, PROJECT["dependencies"]):
        assert {specifier.operator for specifier in requirement.specifier} == {">="}, requirement


def test_conda_installs_the_lock_and_nothing_else_through_pip():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    (pip,) = [entry["pip"] for entry in listed if isinstance(entry, dict)]
    assert pip == ["--require-hashes", "-r requirements.lock"]
    plain = [entry for entry in listed if isinstance(entry, str)]
    assert plain == [f"python{PROJECT['requires-python']}", "pip"]


ADDRESS = re.compile(
    r"(?:github(?:usercontent)?\.com[/:]|/github/)([\w.-]+/minegan[\w-]*)"  # a page, a clone, a raw file; Colab's
    r"|\b([\w-]+\.github\.io/[\w-]+)"
)


def test_the_address_is_the_same_everywhere():
    url = CONFIG["repository"]["url"]
    owner, name = url.removeprefix("https://github.com/").split("/")
    assert PROJECT["urls"]["Repository"] == CITATION["repository-code"] == url
    found = {}
    for file in set(_files()) - {Path(__file__)}:
        for repository, site in ADDRESS.findall(file.read_text(encoding="utf-8")):
            found.setdefault(repository or site, []).append(file.name)
    assert set(found) <= {f"{owner}/{name}", f"{owner}.github.io/{name}"}, found
    first = {"README.md", "CHANGELOG.md", "CITATION.cff", "pyproject.toml", "intro.md", "_config.yml"}
    assert first <= set(found[f"{owner}/{name}"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://github.com/someone/minegan-lite/blob/main/x", "someone/minegan-lite"),
        ("git@github.com:someone/minegan-lite.git", "someone/minegan-lite"),
        ("https://colab.research.google.com/github/minegan-lite/minegan/blob/main", "minegan-lite/minegan"),
        ("https://raw.githubusercontent.com/someone/minegan-lite/main/x", "someone/minegan-lite"),
        ("https://someone.github.io/minegan-lite/", "someone.github.io/minegan-lite"),
    ],
)
def test_another_address_would_be_found(text, found):
    assert ["".join(groups) for groups in ADDRESS.findall(text)] == [found]


def test_the_version_stands_in_one_place():
    assert "version" not in PROJECT
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "minegan_lite/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", minegan_lite.__version__)
    assert str(CITATION["version"]) == minegan_lite.__version__
    assert f"## [{minegan_lite.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_zoo_and_the_notebooks_come_from_the_main_branch_or_the_released_tag():
    assert minegan_lite.REFERENCE in ("main", f"v{minegan_lite.__version__}")


# --- habits -------------------------------------------------------------------------------------------------------

STRICT, *OTHERS = PYPROJECT["tool"]["mypy"]["overrides"]
UNREAD = [module for other in OTHERS if other.get("ignore_errors") for module in other["module"]]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "minegan_lite").rglob("*.py")
}


def matching(patterns: list[str]) -> set[str]:
    """The modules that mypy's patterns mean; package.* is the package as well as what it holds."""
    exact = set(patterns)
    inside = tuple(pattern[:-1] for pattern in patterns if pattern.endswith(".*"))
    return {module for module in MODULES if module in exact or f"{module}.".startswith(inside)}


def test_mypy_is_strict_about_every_public_name():
    asked = {"disallow_untyped_defs", "disallow_any_generics", "disallow_untyped_calls", "no_implicit_reexport"}
    assert {key for key, value in STRICT.items() if value is True} >= asked
    homes = {f"minegan_lite.{home}" for home in minegan_lite._HOMES.values()}
    assert homes - matching(STRICT["module"]) - matching(UNREAD) <= {"minegan_lite.networks.style_layers"}
    assert "minegan_lite" in STRICT["module"]


def test_mypy_refuses_what_the_public_surface_must_not_hold(tmp_path):
    """Under the project's own settings, a function without types is an error in a strict module and in no other."""
    package = tmp_path / "minegan_lite"
    package.mkdir()
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text("utf-8"), encoding="utf-8")
    for name in ("__init__", "errors", "terminal"):
        (package / f"{name}.py").write_text("def untyped(x):\n    return x\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=tmp_path, capture_output=True, text=True)
    wrong = sorted(line.partition(":")[0] for line in done.stdout.splitlines() if "no-untyped-def" in line)
    assert wrong == [f"minegan_lite/{name}.py" for name in ("__init__", "errors")], done.stdout + done.stderr


def test_coverage_counts_the_training_path():
    """Every file that is listed and there is counted, and the list has what a step of training crosses."""
    listed = {Path(name).stem for name in PYPROJECT["tool"]["coverage"]["run"]["include"]}
    assert {"training", "mined", "miner", "selector", "gan", "runs"} <= listed
    assert PYPROJECT["tool"]["coverage"]["report"]["fail_under"] >= 95


def test_make_test_is_all_that_ci_runs():
    recipe = re.search(r"^test:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.M)[1]
    programs = [line.strip().removeprefix("$(BIN)/") for line in recipe.splitlines()]
    assert programs == ["ruff check", "ruff format --check", "mypy", "pytest $(PYTEST) --cov"]
    assert (ROOT / ".ci" / "run").read_text("utf-8").splitlines()[-1] == "make test"
    by_hand = (ROOT / "README.md").read_text("utf-8")
    for program in programs:
        assert f".venv/bin/{program.replace('$(PYTEST)', '-n 2 --dist loadfile')}" in by_hand


def test_the_lowest_versions_are_installed_apart_and_tested():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    recipe = re.search(r"^lowest:.*\n((?:\t.*\n)+)", makefile, re.M)[1]
    assert "--resolution lowest-direct" in recipe
    lowest = next(version for version in PYTHONS if version in SpecifierSet(PROJECT["requires-python"]))
    assert f"--python {lowest} " in recipe
    (paths,) = re.findall(r"LIBRARY := \$\(addprefix tests/, ([^)]*)\)", makefile)
    for path in paths.replace("\\", "").split():
        assert (ROOT / "tests" / path).exists(), path


def test_the_guides_name_only_files_that_are_there():
    for guide in ("CONTRIBUTING.md", "SECURITY.md"):
        text = (ROOT / guide).read_text(encoding="utf-8")
        named = re.findall(
            r"`((?:minegan_lite|tests|data_scripts|book|benchmarks|weights|\.github|\.devcontainer)[\w./]*)", text
        )
        paths = [path for path in named if "/" in path and "NAME" not in path]
        assert len(paths) > 8, guide
        assert [path for path in paths if not (ROOT / path).exists()] == [], guide


def test_the_container_has_a_python_that_the_project_supports():
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    name, version = re.fullmatch(r"(\w+):(\d\.\d+)-\w+", container["image"]).groups()
    assert name == "python"
    assert version in SpecifierSet(PROJECT["requires-python"])
    assert container["onCreateCommand"] == "make .venv/installed"
    assert re.search(r"^STAMP := \.venv/installed$", (ROOT / "Makefile").read_text("utf-8"), re.M)


def test_weaknesses_are_reported_in_private_and_in_one_place():
    address = f"{CONFIG['repository']['url']}/security/advisories/new"
    config = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/config.yml").read_text("utf-8"))
    assert address in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert [link["url"] for link in config["contact_links"]] == [address]


def test_code_is_mit_and_the_book_cc_by():
    holder = PROJECT["authors"][0]["name"]
    mit, text = ((ROOT / name).read_text(encoding="utf-8") for name in ("LICENSE", "LICENSE-text"))
    assert CITATION["license"] == "MIT"
    assert PROJECT["license"] == "MIT AND CC-BY-SA-3.0 AND Apache-2.0"  # MNIST's, and the Noto faces'
    packs = "minegan_lite/packs"
    assert PROJECT["license-files"] == ["LICENSE", f"{packs}/*.md", f"{packs}/*-LICENSE"]
    named = {file.name for file in (ROOT / packs).iterdir() if file.suffix == ".md" or file.name.endswith("-LICENSE")}
    assert named >= {"mnist.md", "fluent-heads.md", "fluent-heads-LICENSE", "noto-faces.md", "noto-faces-LICENSE"}
    assert CITATION["authors"] == [{"name": holder}]
    assert mit.startswith("MIT License\n\nCopyright (c) 2026 " + holder)
    assert text.endswith(dict(LICENSES)["CC-BY-4.0"].strip() + "\n")
    assert "SPDX-License-Identifier: CC-BY-4.0" in text
    told = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Licence")[2]
    assert "`LICENSE`" in told
    assert "`LICENSE-text`" in told


def test_the_cited_papers_are_those_of_the_book():
    """A paper that both name has one title and one list of authors."""
    book = {}
    for entry in parse_file(ROOT / "book/references.bib").entries.values():
        if number := re.search(r"\d{4}\.\d{5}", entry.fields.get("eprint", entry.fields.get("journal", ""))):
            book[number[0]] = entry
    for reference in CITATION["references"]:
        (number,) = [entry["value"].removeprefix("arXiv:") for entry in reference["identifiers"]]
        entry = book[number]
        assert str(Text.from_latex(entry.fields["title"])).lower() == reference["title"].lower()
        people = [" ".join(map(str, p.rich_prelast_names + p.rich_last_names)) for p in entry.persons["author"]]
        assert people == [f"{a.get('name-particle', '')} {a['family-names']}".strip() for a in reference["authors"]]


def test_no_registry_and_no_machine_is_named():
    hosts = re.compile("|".join([r"pypi\.(?:org|python)", r"python[h]osted\.org", r"npm[j]s\.org", r"debian\.org"]))
    machine = re.compile(r"(?<![\w.])/(?:root|work|home)/\w|file:/+\w|--(?:extra-)?index-url [^-\s]|--find-links")
    for file in _files():
        if file != Path(__file__):
            text = file.read_text(encoding="utf-8")
            assert not hosts.search(text), file
            if file.suffix in {".lock", ".toml", ".yml", ".md", ".json"}:
                assert not machine.search(text), file


def _files() -> list[Path]:
    """Every text file that is, or is about to be, committed."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [file for file in files if file.suffix in TEXT and file.is_file()]


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> tuple[list[str], list[str]]:
    """What wheel and sdist hold, built offline by the backend that pyproject.toml names."""
    import hatchling.build

    folder = tmp_path_factory.mktemp("packages")
    copy = folder / "copy"
    skip = shutil.ignore_patterns(".git", ".venv", "_build", "runs", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, copy, ignore=skip)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy)
        wheel = hatchling.build.build_wheel(str(folder))
        sdist = hatchling.build.build_sdist(str(folder))
    with zipfile.ZipFile(folder / wheel) as wheel, tarfile.open(folder / sdist) as sdist:
        return wheel.namelist(), [name.partition("/")[2] for name in sdist.getnames()]


def test_wheel_carries_weights_results_and_tiers(packages):
    wheel, _ = packages
    for folder in ("weights", "packs", "networks", "metrics", "chapters/widgets"):
        for file in (ROOT / "minegan_lite" / folder).iterdir():
            if file.is_file():
                assert f"minegan_lite/{folder}/{file.name}" in wheel
    for folder in ("results", "tiers"):
        files = [file for file in (ROOT / "book" / folder).rglob("*") if file.is_file()]
        assert len(files) >= 3
        for file in files:
            assert f"minegan_lite/{file.relative_to(ROOT / 'book').as_posix()}" in wheel
    assert "minegan_lite/claims.yml" in wheel
    assert not [name for name in wheel if name.startswith(("tests/", "book/", "data_scripts/"))]


def test_wheel_says_that_it_is_typed(packages):
    """PEP 561: without the marker, type checkers take everything of an installed package for Any."""
    wheel, _ = packages
    assert "minegan_lite/py.typed" in wheel


def test_what_the_offline_default_needs_stays_small():
    """Weights and pictures in the package: at most 30 MiB, so that installing stays quick."""
    folders = (ROOT / "minegan_lite" / name for name in ("weights", "packs"))
    assert sum(file.stat().st_size for folder in folders for file in folder.iterdir()) < 30 << 20


def test_sdist_carries_every_text_file(packages):
    _, sdist = packages
    kept = {file.relative_to(ROOT).as_posix() for file in _files()}
    assert kept - set(sdist) == {".pre-commit-config.yaml"}
