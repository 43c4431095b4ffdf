"""The script that runs the suite as other processors would: its settings take effect, and red is told as red."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings


def test_at_least_four_settings_of_which_the_first_sets_nothing(processors):
    own, *others = processors.SETTINGS.values()
    assert len(others) >= 3
    assert own.variables == {}
    assert all(set(setting.variables) == processors.VARIABLES for setting in others)
    assert len(processors.VARIABLES) == 4


def test_a_setting_is_what_the_libraries_then_say_they_use(processors, monkeypatch):
    for variable in processors.VARIABLES:
        monkeypatch.setenv(variable, "nonsense")  # whatever was set before is gone
    for setting in processors.SETTINGS.values():
        if setting.needs in {None, *processors.flags()}:
            said = processors.told(setting)
            assert said.startswith(f"torch {setting.torch or ''}"), said
            assert setting.openblas is None or said.endswith((f"OpenBLAS {setting.openblas}", "none")), said


def test_a_line_for_each_setting_and_what_this_processor_lacks_is_left_out(processors, monkeypatch, capsys):
    monkeypatch.setattr(processors, "flags", lambda: {"avx2"})
    monkeypatch.setattr(sys, "argv", ["processors", "--list"])
    assert processors.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(processors.SETTINGS)
    left_out = [line for line in lines if "left out: this processor has no" in line]
    assert [line.partition(":")[0] for line in left_out] == ["avx512", "sse"]


TESTS = """
import os
import pytest

def test_green(): pass
def test_by_processor(): assert "ATEN_CPU_CAPABILITY" not in os.environ
@pytest.mark.skip
def test_skipped(): pass
"""


@pytest.fixture
def quick(processors, tmp_path, monkeypatch):
    """The script's module: every setting can be run, none loads the libraries, and logs lie apart."""
    needed = {setting.needs for setting in processors.SETTINGS.values()}
    monkeypatch.setattr(processors, "LOGS", processors.ROOT / "_build" / tmp_path.name)
    monkeypatch.setattr(processors, "told", lambda setting: "libraries")
    monkeypatch.setattr(processors, "flags", lambda: needed)
    yield processors
    shutil.rmtree(processors.LOGS)


def test_red_under_one_setting_is_red_and_the_others_are_run_all_the_same(quick, tmp_path, monkeypatch, capsys):
    (tmp_path / "test_some.py").write_text(TESTS, encoding="utf-8")
    arguments = [str(tmp_path / "test_some.py"), "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["processors", "--only", "sse", "--only", "own", *arguments])
    assert quick.main() == 1
    said = capsys.readouterr().out
    assert "sse: libraries: 1 passed, 1 failed, 1 skipped, " in said
    assert "test_some.py::test_by_processor" in said
    assert "own: libraries: 2 passed, 0 failed, 1 skipped, " in said
    assert said.splitlines()[-1].startswith("red: sse; ")
    assert "ATEN_CPU_CAPABILITY" in (quick.LOGS / "sse.log").read_text(encoding="utf-8")


def test_without_a_result_a_setting_is_red(quick, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["processors", "--only", "own", "--no-such-option"])
    assert quick.main() == 1
    assert "own: libraries: no result, exit status 4" in capsys.readouterr().out


def test_all_green_is_green(quick, tmp_path, monkeypatch, capsys):
    (tmp_path / "test_some.py").write_text("def test_green(): pass\n", encoding="utf-8")
    arguments = ["-n", "0", str(tmp_path / "test_some.py")]  # in this order they are pytest's
    monkeypatch.setattr(sys, "argv", ["processors", "--only", "own", "--only", "avx2", *arguments])
    assert quick.main() == 0
    assert capsys.readouterr().out.count("1 passed, 0 failed, 0 skipped") == 2


def test_it_is_executable_and_teaches_its_use():
    script = Path(__file__).with_name("processors")
    here = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}  # this interpreter by its name
    done = subprocess.run([script, "--help"], env=os.environ | here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for said in ("make processors", "--only", "_build/processors/", "exit status is 0 if no setting was red"):
        assert said in " ".join(done.stdout.split())


def test_hypothesis_has_no_deadline_and_draws_the_same_again():
    assert settings.default.deadline is None
    assert settings.get_profile("same").derandomize
    assert not settings.get_profile("search").derandomize
    assert settings.get_profile("search").deadline is None


def test_the_head_of_a_run_says_what_it_computes_with(pytestconfig):
    heads = pytestconfig.hook.pytest_report_header(config=pytestconfig, start_path=Path())
    (head,) = (line for line in heads if isinstance(line, str) and line.startswith("libraries: "))
    assert "torch " in head
    assert "OpenBLAS " in head
