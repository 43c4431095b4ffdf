"""For every test: one thread per process, since the networks are small and two processes share the cores.

Hypothesis has no deadline here, since a busy machine is no fault of the code, and draws the same examples in each run,
so that a test that is red on one machine is so on the next. `pytest --hypothesis-profile=search` draws others.
"""

import http.server
import os
import signal
import sys
import threading
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as behind nohup: the programs that tests interrupt inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("same", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("search", deadline=None, derandomize=False, print_blob=True)
settings.load_profile("same")


def _script() -> ModuleType:
    loader = SourceFileLoader("processors", str(Path(__file__).with_name("processors")))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module  # where its dataclass looks for itself
    loader.exec_module(module)
    return module


def pytest_report_header() -> str:
    """What this machine computes with: the first thing to know of a test that is red on one machine only."""
    return f"libraries: {_script().libraries()}"


@pytest.fixture
def processors() -> ModuleType:
    """The script tests/processors as a module."""
    return _script()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws without a seed of its own is the same in every order of the tests."""
    import torch  # here, since it reads OMP_NUM_THREADS when it is imported

    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")  # before what a module's own fixtures mine
def same_precision() -> Iterator[None]:
    """precision="auto" is float32 in the tests, on processors with bfloat16, too: bounds are derived for one dtype."""
    import minegan_lite.config  # here, as above

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(minegan_lite.config, "native_bf16", lambda device: False)
        yield


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A function that records a run, of one seed and with any numbers, in a ledger that is empty at first."""
    from minegan_lite.chapters import ledger  # here, as above

    monkeypatch.setenv("MINEGAN_RESULTS", str(tmp_path))
    monkeypatch.setattr(ledger, "_folders", lambda: [tmp_path])
    monkeypatch.setattr(ledger, "_commit", lambda: ("0" * 40, False))  # no git for each of the many runs

    def run(name, seed, **numbers):
        provenance = {"seeds": seed, "device": "cpu", "seconds": 1.0, "n": 10, "command": "test"}
        ledger.record(f"{name}/seed{seed}", numbers, settings={}, **provenance)

    return run


@pytest.fixture
def serve(monkeypatch):
    """A function: a folder → the address under which a local server offers it, until the test ends."""
    servers = []

    def start(folder: Path) -> str:
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args):
                super().__init__(*args, directory=str(folder))

            def log_message(self, *args):
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/"

    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MINEGAN_OFFLINE", "0")
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
