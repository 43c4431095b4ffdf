"""What the doors need from outside: a server, pictures, and processes that have imported torch."""

import http.server
import io
import os
import random
import threading
import time
import zipfile

import pytest
import torch

from tests.checkpoints.test_biggan_pytorch import critic_state, generator_state
from tests.data_scripts import pictures
from tests.data_scripts.conftest import SCRIPTS, Remote
from tests.kills import harness


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        """A client that is killed is no error here."""


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    """Where a local server offers a zip with two members, whole or in ranges."""
    remote, path = Remote(), tmp_path_factory.mktemp("remote") / "small.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, state in (("G_ema.pth", generator_state()), ("D.pth", critic_state())):
            content = io.BytesIO()
            torch.save(state, content)
            archive.writestr(f"138k/{name}", content.getvalue())
        archive.writestr("138k/G_optim.pth", random.Random(0).randbytes(500_000))  # so that fetching takes a while
    remote.content = path.read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(0.05)  # so that kills find it under way
            remote.answer(self)

        def log_message(self, *args):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/small.zip"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def environment(address, tmp_path_factory) -> dict[str, str]:
    source = pictures.folder(
        tmp_path_factory.mktemp("pictures"),
        {f"{i:03}.png": pictures.picture(i, 178, 218) if i % 7 else b"no picture" for i in range(100)},
    )
    return {"KILLS_ADDRESS": address, "KILLS_PICTURES": str(source), "MINEGAN_OFFLINE": "0", "no_proxy": "127.0.0.1"}


@pytest.fixture
def runner(tmp_path, environment, monkeypatch) -> harness.Runner:
    """The fork server of the first one serves all."""
    roots = [str(SCRIPTS.parent), str(SCRIPTS), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, roots)))
    return harness.Runner(tmp_path, environment)
