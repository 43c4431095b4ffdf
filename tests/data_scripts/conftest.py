"""For the tests of data_scripts/: its folder on the path, and a server that can be cut and asked for ranges."""

import hashlib
import http.server
import os
import sys
import threading
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "data_scripts"
sys.path.insert(0, str(SCRIPTS))
ENVIRONMENT = os.environ | {"PYTHONPATH": str(SCRIPTS.parent), "MINEGAN_OFFLINE": "1"}  # of a script run by itself


class Remote:
    """A local server of one file. Set its fields to make it misbehave; `asked` are the Range headers it got."""

    def __init__(self):
        self.content = b""
        self.cut = None  # stop sending after so many bytes of an answer
        self.status = 200  # other than 200: nothing but this status
        self.type = "application/octet-stream"
        self.ranges = True
        self.versioned = True
        self.most = None  # bytes in one range
        self.total = None  # what it claims in Content-Range in place of the truth
        self.asked = []

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.headers.get("Range"))
        if self.status != 200:
            handler.send_error(self.status)
            return
        version = f'"{hashlib.md5(self.content).hexdigest()}"'
        start, size = 0, len(self.content)
        if self.ranges and handler.headers.get("If-Range") == version:
            start = int(self.asked[-1].removeprefix("bytes=").removesuffix("-"))
        total = self.total or size
        if start and self.most:
            size = min(size, start + self.most)
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Type", self.type)
        handler.send_header("Content-Length", str(size - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{total}")
        if self.versioned:
            handler.send_header("ETag", version)
        handler.end_headers()
        handler.wfile.write(self.content[start:size][: self.cut])


@pytest.fixture
def remote(monkeypatch):
    """A Remote with its address in `url`; the file's name there is of no importance."""
    there = Remote()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            there.answer(self)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    there.url = f"http://127.0.0.1:{server.server_port}/file"
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MINEGAN_OFFLINE", "0")
    yield there
    server.shutdown()
    server.server_close()
