"""The site builds without warnings, and each page shows well and leads somewhere."""

import time
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

WIDTHS = (1280, 390)
REFERENCE = {f"reference/gdopt{name}.html" for name in ("", ".optim", ".nn")}


def is_external(address):
    return bool(urlsplit(address).scheme)


def test_every_link_leads_to_a_page_and_an_anchor_that_are_there(site, pages):
    missing = []
    for name, page in pages.items():
        for address in filter(lambda x: not is_external(x), page.links + page.loads):
            path, anchor = urldefrag(unquote(urljoin(name, address)))
            anchors = pages[path].anchors if path in pages else {"", None}
            if not (site / path).is_file() or (anchor and anchor not in anchors):
                missing.append(f"{name}: {address}")
    assert not missing


def test_nothing_is_loaded_from_another_host(pages):
    assert not [x for page in pages.values() for x in page.loads if is_external(x)]


def test_pages_show_without_errors_and_ask_for_nothing_elsewhere(
    pages, address, browser
):
    # Pages of the reference are of one make: all links are checked, three pages shown.
    shown = [n for n in pages if not n.startswith("reference/") or n in REFERENCE]
    wrong = []
    for name in shown:
        browser.resize(WIDTHS[0])
        browser.open(f"{address}/{name}")
        for width in WIDTHS:
            browser.resize(width)
            root = "document.documentElement"
            if wide := browser.run(f"return {root}.scrollWidth - {root}.clientWidth"):
                wrong.append(f"{name} is {wide} pixels wider than {width}")
        broken = (
            "return [...document.images].filter(i => i.complete && !i.naturalWidth)"
        )
        wrong += [f"{name}: {i}" for i in browser.run(f"{broken}.map(i => i.src)")]
        wrong += [f"{name}: {message}" for message in browser.errors()]
        wrong += [
            f"{name} asks for {url}"
            for url in browser.requests()
            if not url.startswith((address, "data:", "blob:", "about:", "chrome:"))
        ]
    assert not wrong, "\n".join(wrong)


def wait_for(condition, seconds=20):
    """Wait until a function returns something, and return that."""
    for _ in range(seconds * 20):
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail("the page did not show what was waited for")


def test_the_search_finds_a_page(address, browser):
    browser.resize(1280)
    browser.open(f"{address}/index.html")
    browser.run(
        "const field = document.querySelector('.md-search__input'); field.focus();"
        "field.value = 'momentum';"
        "field.dispatchEvent(new Event('keyup', {bubbles: true}));"
    )
    links = "return [...document.querySelectorAll('.md-search-result__link')]"
    found = wait_for(lambda: browser.run(f"{links}.map(a => a.getAttribute('href'))"))
    assert any("rules.html" in link for link in found)
    assert browser.errors() == []


def test_the_toggle_makes_the_page_dark(address, browser):
    browser.open(f"{address}/index.html")
    scheme = "return document.body.getAttribute('data-md-color-scheme')"
    browser.run("document.querySelector('#__palette_2').click()")
    assert wait_for(lambda: browser.run(scheme) == "slate")
