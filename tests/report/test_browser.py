"""The report as a browser sees it: Chromium without a network, driven through its DevTools protocol over a pipe."""

import contextlib
import csv
import fcntl
import io
import json
import os
import re
import select
import shutil
import subprocess
import time
import xml.etree.ElementTree as ET
from urllib.parse import unquote, urldefrag

import matplotlib.image
import pytest

from smlmbatch.analyse.tables import write_tables
from smlmbatch.report.html import write_report

pytestmark = pytest.mark.slow
WAIT_S = 60


class Browser:
    """A headless Chromium with one tab. Messages are JSON, each ended by a zero byte, through its file descriptors 3 and 4."""

    def __init__(self, program, folder):
        to_browser, self._in = os.pipe()
        self._out, from_browser = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 50) for end in (to_browser, from_browser)]  # away from 3 and 4
        flags = [
            "--headless",
            "--window-size=1280,1000",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-extensions",
        ]
        flags += [
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND",
        ]
        command = [program, *flags, "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}", "about:blank"]
        redirect = f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}'
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(["bash", "-c", redirect, "bash", *command], pass_fds=ends, start_new_session=True, **quiet)
        for end in (to_browser, from_browser, *ends):
            os.close(end)
        self._rest, self._number, self.events, self._session = b"", 0, [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self):
        with contextlib.suppress(OSError):
            self.call("Browser.close")
        for end in (self._in, self._out):
            os.close(end)
        self._process.wait(timeout=WAIT_S)

    def call(self, method, **params):
        """Send a command and wait for its answer; what happens meanwhile is kept in `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda m: m.get("id") == self._number)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def wait_for(self, method, when=lambda params: True):
        """The first event of this kind, also of those that have come already."""
        for event in self.events:
            if event["method"] == method and when(event["params"]):
                return event["params"]
        return self._until(lambda m: m.get("method") == method and when(m["params"]))["params"]

    def _until(self, wanted):
        deadline = time.monotonic() + WAIT_S
        while True:
            while b"\0" not in self._rest:
                ready, _, _ = select.select([self._out], [], [], max(0.0, deadline - time.monotonic()))
                piece = os.read(self._out, 1 << 20) if ready else b""
                assert piece, "the browser does not answer"
                self._rest += piece
            text, _, self._rest = self._rest.partition(b"\0")
            message = json.loads(text)
            if "method" in message:
                self.events.append(message)
            if wanted(message):
                return message

    def open(self, path):
        """Load a file and wait until it is there."""
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        self.wait_for("Page.loadEventFired")

    def run(self, script):
        """Value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def complaints(self):
        """What went wrong since the page was opened: script errors, console and log messages, requests that failed."""
        told = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Network.loadingFailed")
        return [event for event in self.events if event["method"] in told]

    def requests(self):
        """Addresses that the page asked for, those within it left out."""
        found = [event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [url for url in found if not url.startswith("data:")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for found in map(shutil.which, names) if found), None)
    if program is None:
        pytest.skip("no Chromium; tests/report/install.sh installs it")
    browser = Browser(program, tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


def pages_of(output):
    """The campaign's page, those of its fields, and the embedding's, last."""
    report = output / "report"
    return [report / "index.html", *sorted((report / "fields").iterdir()), *report.glob("embedding.html")]


@pytest.fixture(scope="module")
def made_report(made, embedded, tmp_path_factory):
    """A report of two-channel, embedded, failed and ill-named fields."""
    names = ["<img src=x onerror=window.bad=1>", "</script><script>window.bad=1</script>", "a # b?c%41.csv", "日本語"]
    cells = [made.Cell(field=made.field(f"{i}/{n}", n, f"r{i}", name=n), channels=(0, 1), n_locs=9000) for i, n in enumerate(names)]
    failures = [(made.field("b.csv", names[0], "r9", name=names[1]), "ingest", *names[:3])]
    campaign = made.build(tmp_path_factory.mktemp("made"), cells, failures=failures)
    write_tables(campaign, fingerprint="t")
    campaign = embedded.with_units(campaign, n_skipped=1)
    embedded.write_tables(campaign, flags=[embedded.flag("amber", names[1]), embedded.flag("red", names[0])])
    write_report(campaign, fingerprint="f", input_name=names[0], software={"smlmbatch": "0"}, run={})
    return campaign.output


@pytest.fixture(params=["small_output", "made_report"], ids=["simulated", "made up"])
def output(request):
    return request.getfixturevalue(request.param)


def test_pages_load_whole_without_a_network(browser, output):
    for path in pages_of(output):
        browser.open(path)
        assert browser.complaints() == [], path.name
        assert browser.requests() == [path.as_uri()], path.name
        assert browser.run("document.readyState") == "complete"
        assert browser.run("typeof window.bad") == "undefined"
        assert browser.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), f"{path.name} is too wide"


def test_a_broken_page_is_found_out(browser, made_report):
    """The tests above can fail, and the pages' policy holds: neither a picture from elsewhere is fetched nor another script run."""
    browser.open(pages_of(made_report)[1])
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.org/x.png\"><img src=x onerror=window.bad=1>')")
    browser.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.bad = 1'}))")
    browser.run("new Promise(done => setTimeout(done, 300))")
    told = [event["params"]["entry"]["text"] for event in browser.complaints() if event["method"] == "Log.entryAdded"]
    assert any("example.org" in text and "Content Security Policy" in text for text in told)
    assert any("script" in text for text in told)
    assert browser.run("typeof window.bad") == "undefined"


def test_every_link_leads_somewhere(browser, output):
    for path in pages_of(output):
        browser.open(path)
        anchors = set(browser.run("[...document.querySelectorAll('[id]')].map(e => e.id)"))
        for href in browser.run("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))"):
            target, anchor = urldefrag(href)
            assert not re.match(r"[a-z]+:", target), f"{path.name} links {href}"
            if target:
                assert (path.parent / unquote(target)).is_file(), f"{path.name} links {href}"
            else:
                assert anchor in anchors, f"{path.name} links {href}"


def test_links_of_the_page_lead_to_fields_and_back(browser, output):
    browser.open(pages_of(output)[0])
    key = browser.run("document.querySelector('a[href^=\"fields/\"]').getAttribute('href')")
    browser.open(output / "report" / key)
    assert browser.run("document.querySelectorAll('section').length") >= 2
    browser.events.clear()
    browser.run("document.querySelector('.pages a[href=\"../index.html\"]').click()")
    browser.wait_for("Page.loadEventFired")
    assert browser.run("location.pathname").endswith("/report/index.html")


def check_svg(content):
    root = ET.fromstring(content)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("viewBox")
    for image in root.iter("{http://www.w3.org/2000/svg}image"):
        assert image.get("{http://www.w3.org/1999/xlink}href").startswith("data:image/png;base64,")


def check_png(content):
    picture = matplotlib.image.imread(io.BytesIO(content), format="png")
    assert max(picture.shape[:2]) >= 1000
    assert picture[..., :3].std() > 0.005  # something is drawn


def check_csv(content):
    rows = list(csv.reader(io.StringIO(content.decode())))
    assert len(rows) >= 2
    assert len({len(row) for row in rows}) == 1
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in rows[0])


def saved(browser, button, path):
    """Press a button and wait for its file. Of many saved within a second the browser drops one now and then: press again."""
    for _ in range(5):
        browser.run(f"document.querySelectorAll('.save button')[{button}].click()")
        deadline = time.monotonic() + WAIT_S / 10
        while time.monotonic() < deadline:
            if path.is_file() and path.stat().st_size:  # named so when it is whole
                return path.read_bytes()
            time.sleep(0.02)
    pytest.fail(f"{path.name} was not saved")


CHECKS = {"svg": check_svg, "png": check_png, "csv": check_csv}


def test_figures_of_a_field_can_be_saved(browser, output, tmp_path):
    path = next(p for p in pages_of(output)[1:] if "svg" in p.read_text())
    browser.open(path)
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    names = browser.run("[...document.querySelectorAll('figure[data-name]')].map(f => f.dataset.name)")
    assert len(names) == len(set(names)) >= 3
    assert browser.run("document.querySelectorAll('.save button').length") == 3 * len(names)
    for i, name in enumerate(names):
        for k, (kind, check) in enumerate(CHECKS.items()):
            check(saved(browser, 3 * i + k, tmp_path / f"{name}.{kind}"))
    assert browser.complaints() == []


def test_a_field_reads_the_same_without_script(browser, output):
    path = next(p for p in pages_of(output)[1:] if "svg" in p.read_text())
    said = "document.body.innerText.replace(/SVG · PNG · CSV/g, '').replace(/\\s+/g, ' ').trim()"
    browser.open(path)
    with_script = browser.run(said)
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(path)
        assert browser.run("document.querySelectorAll('button').length") == 0
        assert browser.run(said) == with_script
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_pages_print_on_a4(browser, output):
    for path in (*pages_of(output)[:2], pages_of(output)[-1]):
        browser.open(path)
        browser.call("Emulation.setEmulatedMedia", media="print")
        assert browser.run("[...document.querySelectorAll('nav, .save')].every(e => getComputedStyle(e).display === 'none')")
        browser.call("Emulation.setEmulatedMedia", media="")
        printed = browser.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=True)["data"]
        assert printed.startswith("JVBERi")  # %PDF in base 64
        assert len(printed) > 10_000


# ---- the embedding's page


@pytest.fixture
def map_page(browser, made_report):
    """The embedding's page, opened anew, with functions that say what its first map shows."""
    browser.open(made_report / "report" / "embedding.html")
    browser.run(
        """
        window.map = document.querySelector("svg.map");
        window.card = document.querySelector(".card");
        window.dots = [...map.querySelectorAll(".dots path")];
        window.data = JSON.parse(document.querySelector(".numbers").textContent);
        window.centre = (i) => {
          const box = map.getBoundingClientRect(), scale = box.width / map.viewBox.baseVal.width;
          return [box.left + data.x[i] * scale, box.top + data.y[i] * scale];
        };
        window.said = () => card.innerText.replace(/\\s+/g, " ").trim();
        window.lit = () => {
          const canvas = card.querySelector("canvas");
          const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          return all.reduce((sum, value, i) => sum + (i % 4 < 3 && value > 60), 0) / 3;
        };
        map.scrollIntoView({ block: "center" });
        """
    )
    return browser


def place_of(browser, dot):
    x, y = browser.run(f"centre({dot})")
    return {"x": x, "y": y}


def press(browser, key):
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)


def alone(browser):
    """A dot with no other within 8 px, so that pointing at it means it."""
    return browser.run("data.x.findIndex((x, i) => data.x.every((u, j) => i === j || Math.hypot(u - x, data.y[j] - data.y[i]) > 8))")


def test_pointing_at_a_dot_shows_its_region(map_page, made_report):
    assert "Rest the pointer on a dot" in map_page.run("said()")
    dot = alone(map_page)
    map_page.call("Input.dispatchMouseEvent", type="mouseMoved", pointerType="mouse", **place_of(map_page, dot))
    name = map_page.run(f"data.fields[data.field[{dot}]][1]")
    assert " ".join(f"Field: {name}, ROI {map_page.run(f'data.roi[{dot}]')}".split()) in map_page.run("said()")
    assert f"Locs: {map_page.run(f'data.locs[{dot}]'):,}" in map_page.run("said()")
    assert map_page.run("lit()") > 10  # pixels of the picture that hold locs
    link = map_page.run("card.querySelector('a').getAttribute('href')")
    assert (made_report / "report" / link).is_file()
    assert map_page.run("typeof window.bad") == "undefined"
    assert map_page.complaints() == []


def test_pictures_are_of_the_dots_they_stand_for(map_page, made_report):
    """The number of lit pixels is that of the ROI's raster, read from the store."""
    from smlmbatch.methods.contrastive.infer import roi_counts
    from smlmbatch.store.arrays import UnitReader
    from smlmbatch.store.field_locs import FieldLocs

    for dot in range(0, map_page.run("dots.length"), 7):
        x, y = map_page.run(f"centre({dot})")
        moved = f"{{pointerType: 'mouse', clientX: {x}, clientY: {y}}}"
        map_page.run(f"map.dispatchEvent(new PointerEvent('pointermove', {moved}))")
        key, roi = map_page.run("[card.querySelector('a').getAttribute('href').slice(7, -5), +said().match(/ROI (\\d+)/)[1]]")
        folder = made_report / "store" / "fields" / key
        with UnitReader(folder / "ingest-0.zarr.zip") as ingest, UnitReader(folder / "tile-0.zarr.zip") as tile:
            corner = tuple(tile.read("roi_origin_nm")[roi].tolist())
            locs = FieldLocs(ingest).rectangle(*corner, corner[0] + 3000, corner[1] + 3000)
            own = locs.channel == 0
        counts = roi_counts(locs.x_nm[own], locs.y_nm[own], side_nm=3000.0, side_px=64, origin_nm=corner)
        assert map_page.run("lit()") == (counts > 0).sum()


def test_the_map_can_be_walked_by_keys(map_page):
    map_page.run("document.activeElement.blur()")
    map_page.run("map.focus({focusVisible: true})")
    first = map_page.run("said()")
    assert "ROI" in first
    ring = "parseFloat(document.querySelector('.ring').style.left)"
    x = map_page.run(ring)
    press(map_page, "ArrowRight")
    assert map_page.run(ring) > x
    assert map_page.run("said()") != first
    press(map_page, "Escape")
    assert "Rest the pointer on a dot" in map_page.run("said()")
    press(map_page, "ArrowUp")
    href = map_page.run("card.querySelector('a').getAttribute('href')")
    map_page.events.clear()
    press(map_page, "Enter")
    map_page.wait_for("Page.loadEventFired")
    assert unquote(map_page.run("location.pathname")).endswith(f"/report/{href}")


def test_colours_change_and_a_group_stands_out(map_page):
    fills = "JSON.stringify(dots.map(dot => dot.getAttribute('fill')))"
    modes = map_page.run("[...document.querySelector('.paints').querySelectorAll('input')].map(input => input.value)")
    assert modes == ["condition", "replicate", "cluster", "density"]
    seen = set()
    for mode in modes:
        map_page.run(f"document.querySelector('.paints input[value={mode}]').click()")
        seen.add(map_page.run(fills))
        told = map_page.run("document.querySelector('.legend').innerText")
        assert ("locs or fewer" in told) == (mode == "density")
    assert len(seen) >= 3
    map_page.run("document.querySelector('.paints input[value=condition]').click()")
    map_page.run("document.querySelectorAll('.legend button')[1].click()")
    faint = map_page.run("dots.filter(dot => dot.classList.contains('off')).length")
    assert faint == map_page.run("data.paints.condition.groups.filter(group => group !== 1).length") > 0
    map_page.run("document.querySelectorAll('.legend button')[1].click()")
    assert map_page.run("dots.filter(dot => dot.classList.contains('off')).length") == 0


def test_a_finger_shows_a_region_and_stays_on_the_page(map_page):
    dot = alone(map_page)
    map_page.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[place_of(map_page, dot)])
    map_page.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    map_page.run("new Promise(done => setTimeout(done, 100))")
    assert f"ROI {map_page.run(f'data.roi[{dot}]')}" in map_page.run("said()")
    assert map_page.run("location.pathname").endswith("/embedding.html")


def test_the_map_is_there_without_script(browser, made_report):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(made_report / "report" / "embedding.html")
        assert browser.run("document.querySelectorAll('.map .dots path').length") > 10
        assert browser.run("document.querySelectorAll('.mapkey > div').length") == 2 * 4
        assert browser.complaints() == []
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
