"""The widgets in a real JupyterLab: moved by keyboard, while mining, then without a kernel, then reopened."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from test_family import tiny_sources
from tiny import tiny_target, unmined_digits

from minegan_lite.chapters import runner
from minegan_lite.chapters.widgets import LatentShift, SelectorBars
from minegan_lite.training import mine

TIMEOUT = 120  # seconds for each step: a busy machine may be that slow, an idle one takes a tenth of it
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser():
    """Chromium: the system's, else Playwright's own; skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no browser: Playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    with sync_api.sync_playwright() as playwright:
        try:
            program = next(filter(None, map(shutil.which, names)), None)
            launched = playwright.chromium.launch(executable_path=program, args=QUIET, timeout=1000 * TIMEOUT)
        except sync_api.Error as error:
            pytest.skip(
                f"no browser: neither {', '.join(names)} nor Playwright's own ({error.message.splitlines()[0]})"
            )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of its own, nothing of the user's configuration: its folder, and from a path to an address."""
    tmp_path = tmp_path_factory.mktemp("lab")
    work, config = tmp_path / "work", tmp_path / "config"
    (config / "labconfig").mkdir(parents=True)
    work.mkdir()
    # neither news nor updates are asked for
    quiet = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (config / "labconfig" / "page_config.json").write_text(json.dumps(quiet))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    folders = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    folders |= {f"JUPYTERLAB_{name}_DIR": str(tmp_path / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    tests = Path(__file__).resolve().parents[1]
    environment = runner.environment(work / "results")
    environment["PYTHONPATH"] += os.pathsep + str(tests)
    options = {
        "ServerApp.port": port, "ServerApp.port_retries": 0, "ServerApp.root_dir": work, "ServerApp.allow_root": True,
        "IdentityProvider.token": token, "LabApp.expose_app_in_browser": True,
    }  # fmt: skip
    command = [sys.executable, "-m", "jupyterlab", "--no-browser"]
    with (tmp_path / "lab.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, *(f"--{key}={value}" for key, value in options.items())],
            cwd=work, env=os.environ | folders | environment, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            wait_for(f"http://127.0.0.1:{port}/api?token={token}", server, tmp_path / "lab.log")
            yield work, f"http://127.0.0.1:{port}/lab{{}}?token={token}".format
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


def wait_for(url, server, log):
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")


def running(browser, lab, name, *programs):
    """A page with a notebook of these cells, the first of them running, its faults, and the hosts it asked."""
    work, address = lab
    nbformat.write(new_notebook(cells=[*map(new_code_cell, programs)], metadata=runner.METADATA), work / name)
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(1000 * TIMEOUT)
    faults, asked = [], set()
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: asked.add(urllib.parse.urlsplit(request.url).hostname))
    page.goto(address(f"/workspaces/{Path(name).stem}/tree/{name}"))  # of its own: what else is open stays there
    page.wait_for_selector(".jp-Notebook-cell")
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.ready")
    run_next(page)
    return page, faults, asked


def run_next(page):
    """Lets the next cell begin, without waiting for its end."""
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-cell-and-select-next') }")


def wait_for_still(page, widget):
    """Waits until the static picture is this one; gives it and its address."""
    url = "data:image/png;base64," + widget._still()["image/png"]
    page.wait_for_function("url => document.querySelector('.jp-RenderedImage img').src === url", arg=url)
    return page.locator(".jp-RenderedImage img"), url


def test_a_slider_moves_the_picture_which_outlives_its_kernel(lab, browser, tmp_path):
    program = "import tiny\nfrom minegan_lite.chapters.widgets import LatentShift\n\nLatentShift(tiny.unmined_digits())"
    page, faults, asked = running(browser, lab, "shift.ipynb", program)
    twin = LatentShift(unmined_digits())  # the same, here: one seed, one widget

    def shows_the_same():
        """Waits for the numbers, then compares all that the browser shows with the twin."""
        shown = twin.picture.shown
        page.wait_for_function("text => document.querySelector('.latent-shift-lines')?.innerText === text",
                               arg="\n\n".join(shown["lines"]))  # fmt: skip
        images = page.locator(".latent-shift-images")
        assert images.locator("img").evaluate_all("all => all.map(image => image.src)") == shown["images"]
        assert images.locator("img").evaluate_all("all => all.map(image => image.naturalWidth)") == [28, 28]
        assert images.locator("figcaption").all_inner_texts() == shown["captions"]
        assert page.locator(".latent-shift-fixed line").count() == len(twin.picture.arrows)
        assert page.locator(".latent-shift-current line").count() == 1
        return [*shown["images"], page.locator(".latent-shift-current path").get_attribute("transform")]

    first = shows_the_same()
    page.locator(".latent-shift .noUi-handle").first.focus()
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    twin.sliders[0].value = 0.7
    moved = shows_the_same()
    assert all(a != b for a, b in zip(first, moved, strict=True))
    page.locator(".latent-shift input[type=number]").fill("5")
    page.keyboard.press("Enter")
    twin.draw_seed.value = 5
    assert all(a != b for a, b in zip(moved, shows_the_same(), strict=True))

    # the static picture: renewed after the drag, hidden as long as the widget is there
    still, url = wait_for_still(page, twin)
    assert not still.is_visible()
    page.screenshot(path=tmp_path / "live.png")
    assert faults == []  # later, JupyterLab has some of its own to tell about the kernel that is gone
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    shows_the_same()  # nothing of it is gone
    page.screenshot(path=tmp_path / "shut_down.png")
    page.goto(lab[1]("/workspaces/later"))
    page.wait_for_function("() => window.jupyterapp?.shell")
    page.evaluate(
        "async () => { await window.jupyterapp.restored; await window.jupyterapp.commands.execute('docmanager:open',"
        " {path: 'shift.ipynb', factory: 'Notebook', kernelPreference: {shouldStart: false}}) }"
    )
    still.wait_for(state="visible")
    assert still.get_attribute("src") == url
    assert page.locator(".latent-shift").count() == 0
    page.screenshot(path=tmp_path / "reopened.png")
    assert asked <= {"127.0.0.1", None}  # None: data URLs
    page.close()


MINING = {"precision": "32", "steps": 6, "batch": 4, "log_every": 2, "progress": False, "device": "cpu"}
SHOWN = """() => [...document.querySelectorAll('.selector-bars-picture')].map((picture) => ({
    line: picture.querySelector('p').innerText,
    rows: [...picture.querySelectorAll('tr:has(svg)')].map((row) => [
        ...[...row.querySelectorAll('th, td:not(:has(svg))')].map((cell) => cell.innerText),
        Number(row.querySelector('line').getAttribute('x1')), Number(row.querySelector('rect').getAttribute('width')),
    ]),
    ticks: [...picture.querySelectorAll('.selector-bars-axis span')].map((tick) => tick.innerText),
    figures: [...picture.querySelectorAll('figure')].map((figure) => ({
        image: figure.querySelector('img').src,
        name: figure.querySelector('figcaption span').innerText,
        note: figure.querySelector('figcaption span + span').innerText,
        winner: getComputedStyle(figure.querySelector('img')).outlineStyle === 'solid',
    })),
}))"""


def test_bars_grow_while_mining_and_go_back_afterwards(lab, browser, tmp_path):
    truth = {f"tiny{i}": 0.1 for i in range(10)}
    begin = f"""
from pathlib import Path
import time
from test_family import tiny_sources
from tiny import tiny_target
from minegan_lite.training import mine
from minegan_lite.chapters.widgets import SelectorBars

bars = SelectorBars(truth={truth})
bars.shares.on_msg(lambda *_: Path("rested").touch())
bars"""
    go_on = f"""
def watch(mined):
    bars.update(mined)
    while not Path(f"seen{{len(mined.history)}}").exists():
        time.sleep(0.05)

mined = mine(tiny_sources(10), tiny_target(), watch=watch, **{MINING})"""
    page, faults, asked = running(browser, lab, "bars.ipynb", begin, go_on)
    work, twin, button = lab[0], SelectorBars(truth=truth), page.locator(".selector-bars button")

    def shows_the_same():
        shown = [dict(picture.shown) for picture in (twin.shares, twin.supersample, twin.sampled)]
        for picture in shown:
            picture["rows"] = [[*row[:3], 100 * row[3], 100 * row[4]] for row in picture["rows"]]
        deadline = time.monotonic() + TIMEOUT
        while (seen := page.evaluate(SHOWN)) != shown and time.monotonic() < deadline:
            page.wait_for_timeout(50)
        assert seen == shown

    def watch(mined):  # the other kernel is kept busy until this one has seen what it shows
        twin.update(mined)
        shows_the_same()
        assert button.is_disabled() == (mined.history[-1]["step"] < MINING["steps"])
        (work / f"seen{len(mined.history)}").touch()

    shows_the_same()
    run_next(page)
    mine(tiny_sources(10), tiny_target(), watch=watch, **MINING)

    page.locator(".selector-bars .noUi-handle").focus()
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    twin.position.value = 3
    shows_the_same()
    page.locator(".selector-bars input[type=number]").fill("5")
    page.keyboard.press("Enter")
    twin.supersample_seed.value = 5
    shows_the_same()
    button.focus()
    for key in ("Enter", "Space"):
        page.keyboard.press(key)
        twin.sample_one.click()
        shows_the_same()
    still, _ = wait_for_still(page, twin)
    assert not still.is_visible()
    page.screenshot(path=tmp_path / "wide.png")

    # nothing of ten sources is cut off, on a page or on a phone
    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
    for width in (700, 400):
        page.set_viewport_size({"width": width, "height": 1400})
        box = page.locator(".selector-bars")
        page.wait_for_function("width => document.querySelector('.selector-bars').clientWidth < width", arg=width)
        assert box.evaluate("box => box.scrollWidth <= box.clientWidth")
        assert box.evaluate("box => box.getBoundingClientRect().right") <= width
        box.evaluate("box => box.scrollIntoView()")
        page.screenshot(path=tmp_path / f"{width}.png")

    # taken from the page, it draws no more
    assert (work / "rested").exists()
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    page.wait_for_function("() => !document.querySelector('.selector-bars')")
    (work / "rested").unlink()
    page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
        ".requestExecute({code: 'bars.position.value = 1'}).done.then(() => null)"
    )
    page.wait_for_timeout(1500)
    assert not (work / "rested").exists()
    assert faults == []
    assert asked <= {"127.0.0.1", None}
    page.close()
