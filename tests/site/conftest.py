"""The site, built once, a server for it, and a browser that stays on the machine."""

import os
import shutil
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from browser import Browser

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Return the folder of the built site, where a warning has failed the build."""
    pytest.importorskip("mkdocs", reason="the dependency group docs is not installed")
    folder = Path(os.environ.get("GDOPT_SITE") or tmp_path_factory.mktemp("site"))
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--site-dir",
        folder,
    ]
    built = subprocess.run(
        [*command, "--config-file", ROOT / ".mkdocs.yml"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


class Page(HTMLParser):
    """Collects what a page links to, what it loads, and the anchors in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        elif tag == "link" and found.get("href"):
            self.loads.append(found["href"])
        elif found.get("src"):
            self.loads.append(found["src"])


@pytest.fixture(scope="session")
def pages(site):
    """Return all pages by their paths in the site, but the one for what is missing."""
    files = {file.relative_to(site).as_posix(): file for file in site.rglob("*.html")}
    del files["404.html"]  # its addresses are those of a published site
    return {name: Page(file.read_text("utf-8")) for name, file in files.items()}


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *_):
        """Write nothing."""


@pytest.fixture(scope="session")
def address(site):
    """Return the address of the site on a server of its own."""
    handler = partial(Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Return a headless Chromium; without one, skip, but fail in CI."""
    pytest.importorskip("selenium", reason="the group docs is not installed")
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        message = "Chromium or its chromedriver is not installed"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    with Browser(binary, driver, tmp_path_factory.mktemp("profile")) as found:
        yield found
