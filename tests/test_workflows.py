"""What runs outside, on GitHub: its files are linted here, offline, and whatever they call exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from book.build import BUILD
from minegan_lite import cli
from minegan_lite.chapters import runner
from tests.test_project import PROJECT, ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = {path.stem: path for path in sorted((GITHUB / "workflows").glob("*.yml"))}
PARSED = {name: yaml.safe_load(path.read_text(encoding="utf-8")) for name, path in WORKFLOWS.items()}
JOBS = {f"{name}/{job}": spec for name, parsed in PARSED.items() for job, spec in parsed["jobs"].items()}
STEPS = [(f"{where}/{i}", step) for where, job in JOBS.items() for i, step in enumerate(job["steps"])]
SCRIPTS = {where: step["run"] for where, step in STEPS if "run" in step}
SCRIPTS |= {f".ci/{path.name}": path.read_text(encoding="utf-8") for path in sorted((ROOT / ".ci").iterdir())}


def tool(name: str, *arguments) -> subprocess.CompletedProcess:
    program = Path(sys.executable).with_name(name)
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)


def test_there_are_workflows_for_tests_book_colab_and_the_night():
    assert list(WORKFLOWS) == ["book", "colab", "nightly", "test"]
    assert PARSED["colab"][True]["schedule"][0]["cron"].split()[2:4] == ["*", "*"]  # YAML reads the key `on` as true


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", list(WORKFLOWS.values())),
        ("custom.github-workflows-require-timeout", list(WORKFLOWS.values())),
        ("vendor.dependabot", [GITHUB / "dependabot.yml"]),
        ("vendor.github-issue-config", [GITHUB / "ISSUE_TEMPLATE/config.yml"]),
        (
            "vendor.github-issue-forms",
            [GITHUB / f"ISSUE_TEMPLATE/{form}.yml" for form in ("bug", "number", "question")],
        ),
        ("vendor.citation-file-format", [ROOT / "CITATION.cff"]),
    ],
)
def test_files_keep_their_schema(schema, files):
    done = tool("check-jsonschema", "--builtin-schema", schema, *files)
    assert done.returncode == 0, done.stdout


def audit(folder: Path) -> subprocess.CompletedProcess:
    return tool("zizmor", "--offline", "--no-config", "--persona", "regular", "--format", "plain", folder)


def test_zizmor_finds_nothing():
    done = audit(GITHUB)
    assert done.returncode == 0, done.stdout
    assert "No findings" in done.stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (r"        with:\n          persist-credentials: false\n", ""),
        (r"@[0-9a-f]{40} # (v\d+)\S*", r"@\1"),
        (r"run: make test", "run: make test ${{ github.event.pull_request.title }}"),
    ],
    ids=["credentials", "pin", "injection"],
)
def test_zizmor_finds(right, wrong, tmp_path):
    text, changes = re.subn(right, wrong, WORKFLOWS["test"].read_text(encoding="utf-8"))
    assert changes
    (tmp_path / ".github/workflows").mkdir(parents=True)
    (tmp_path / ".github/workflows/test.yml").write_text(text, encoding="utf-8")
    assert audit(tmp_path / ".github").returncode


def test_actions_are_pinned_to_one_commit_each():
    uses = re.findall(r"uses: (\S+)@(\S+)(.*)", "\n".join(path.read_text("utf-8") for path in WORKFLOWS.values()))
    assert len(uses) == sum("uses" in step for _, step in STEPS)
    for action, commit, version in uses:
        assert re.fullmatch(r"[0-9a-f]{40}", commit), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", version), action
    assert len({action for action, *_ in uses}) == len(set(uses))


def test_a_job_may_do_only_what_it_needs():
    assert all(parsed["permissions"] == {} for parsed in PARSED.values())
    writing = {where: {p for p, level in job["permissions"].items() if level == "write"} for where, job in JOBS.items()}
    assert {where: what for where, what in writing.items() if what} == {
        "book/publish": {"pages", "id-token"},
        "colab/report": {"issues"},
    }


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_shell_parses_and_calls_what_exists(script):
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)[1].split()
    assert set(re.findall(r"^make (\S+)", script, re.M)) <= set(targets)
    for path in re.findall(r"(?<![\w.])\.ci/[\w-]+", script):
        assert os.access(ROOT / path, os.X_OK), path
    for line in re.findall(r"^minegan-lite (.+)$", script, re.M):
        cli.build_parser().parse_args(line.split())


def test_a_pipe_that_breaks_is_noticed():
    for where, step in STEPS:
        if re.search(r"[^|]\|(?!\|)", re.sub(r"'[^']*'", "", step.get("run", ""))):
            assert PARSED[where.split("/")[0]]["defaults"]["run"]["shell"] == "bash", where  # which sets pipefail


def test_every_python_that_the_project_supports_is_tested():
    wanted = SpecifierSet(PROJECT["requires-python"])
    rows = JOBS["test/test"]["strategy"]["matrix"]["include"]
    tested = [row["python"] for row in rows if row["system"] == "ubuntu-latest"]
    assert tested == [f"3.{minor}" for minor in range(30) if f"3.{minor}" in wanted]
    assert {row["python"] for row in rows} == set(tested)


def test_every_kind_of_processor_and_system_is_tested():
    """Intel or AMD, Arm under Linux and macOS; the log of each job tells the model."""
    rows = JOBS["test/test"]["strategy"]["matrix"]["include"]
    assert {row["system"] for row in rows} == {"ubuntu-latest", "ubuntu-24.04-arm", "macos-latest"}
    for job in ("test/test", "test/processors"):
        scripts = [step.get("run", "") for step in JOBS[job]["steps"]]
        assert any(script.startswith("lscpu") for script in scripts), job
    assert JOBS["test/test"]["runs-on"] == "${{ matrix.system }}"


def test_other_instruction_sets_are_tried_weekly_and_on_demand():
    job = JOBS["test/processors"]
    assert "make processors" in [step.get("run") for step in job["steps"]]
    assert job["runs-on"] == "ubuntu-latest"
    assert {"schedule", "workflow_dispatch"} <= set(PARSED["test"][True])
    assert set(re.findall(r"'(\w+)'", job["if"])) == {"schedule", "workflow_dispatch"}
    assert PARSED["test"][True]["schedule"][0]["cron"].split()[2:4] == ["*", "*"]
    recipe = re.search(r"^processors:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)[1]
    assert "tests/processors" in recipe
    texts = [path.read_text(encoding="utf-8") for path in WORKFLOWS.values()] + [recipe]
    assert not [text for text in texts if re.search("ATEN_|ONEDNN_|MKL_|OPENBLAS_", text)]  # they stand in one place


def test_the_lowest_versions_are_tried_with_every_pull_request():
    steps = JOBS["test/lowest"]["steps"]
    assert steps[-1]["run"] == "make lowest"
    lowest = next(f"3.{minor}" for minor in range(30) if f"3.{minor}" in SpecifierSet(PROJECT["requires-python"]))
    assert [step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")] == [lowest]
    assert "pull_request" in PARSED["test"][True]
    assert set(re.findall(r"'(\w+)'", JOBS["test/lowest"]["if"])) == {"schedule"}


def test_the_weekly_run_takes_the_list_of_chapters_from_the_book():
    (pattern,) = re.findall(r"set -- (book/\S+)", SCRIPTS[".ci/colab"])
    assert {path.stem for path in ROOT.glob(pattern)} == set(runner.chapters())
    for script in (SCRIPTS[".ci/colab"], WORKFLOWS["colab"].read_text(encoding="utf-8")):
        assert not [chapter for chapter in runner.chapters() if chapter in script]


def test_the_weekly_run_installs_the_commit_that_it_checks():
    """By the notebooks' own line, in which .ci/colab puts INSTALL_FROM; tests/test_colab.py executes that."""
    (step,) = [step for step in JOBS["colab/chapters"]["steps"] if ".ci/colab" in step.get("run", "")]
    assert step["env"] == {"INSTALL_FROM": "git+${{ github.server_url }}/${{ github.repository }}@${{ github.sha }}"}
    assert "--env INSTALL_FROM " in step["run"]
    assert "${INSTALL_FROM:-" in SCRIPTS[".ci/colab"]


def test_the_book_is_published_from_where_it_is_built():
    run, upload = JOBS["book/build"]["steps"][-2:]
    assert run["run"] == "make book"
    assert ROOT / upload["with"]["path"] == BUILD / "html"


@pytest.mark.parametrize(
    ("open_issue", "call"),
    [("", "issue create --title A chapter fails in Colab's image --body"), ("7", "issue comment 7 --body")],
)
def test_a_failure_opens_an_issue_or_adds_to_the_open_one(open_issue, call, tmp_path):
    (step,) = JOBS["colab/report"]["steps"]
    gh = tmp_path / "gh"  # stands in for GitHub's program, which is not here: lists what it is given, says what is open
    gh.write_text('#!/usr/bin/env bash\nif [ "$2" = list ]; then echo "$OPEN"; else echo "$@"; fi\n')
    gh.chmod(0o755)
    told = {"TITLE": step["env"]["TITLE"], "FAILURE": 'one: cell 3 failed with "$(boom)"', "LOG": "the log's address"}
    environment = {**os.environ, **told, "OPEN": open_issue, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    done = subprocess.run(script, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, _, log = done.stdout.strip().split("\n")
    assert first == f"{call}     {told['FAILURE']}"
    assert log.endswith(told["LOG"])
