"""The reference has every public name, and the page of rules every form of a rule."""

import inspect
import re

import pytest

import gdopt
from gdopt import errors

pytest.importorskip("gdopt.guide.hooks", reason="not in the wheel")


def public(module):
    """List the paths of a module's public names, and those of its public modules."""
    found = []
    for name in module.__all__:
        thing = getattr(module, name)
        found.append(f"{module.__name__}.{name}")
        if inspect.ismodule(thing) and thing.__name__.startswith("gdopt."):
            found += public(thing)
    return found


@pytest.fixture(scope="session")
def anchors(pages):
    """Return the anchors of the reference and the page of rules, by page."""
    names = [n for n in pages if n.startswith("reference/") or n == "rules.html"]
    return {name: pages[name].anchors for name in names}


def test_every_public_name_is_described_once_or_leads_to_where_it_is(anchors):
    paths = dict.fromkeys(public(gdopt))
    places = {
        path: [n for n, found in anchors.items() if path in found] for path in paths
    }
    assert {path: found for path, found in places.items() if not found} == {}
    assert [path for path, found in places.items() if len(found) > 1] == []


def test_every_module_s_public_names_are_described_with_their_docstrings(site):
    file = site / "reference" / "gdopt.training.html"
    text = re.sub(r"<[^>]+>|\s+", " ", file.read_text("utf-8"))
    assert "gdopt.minimize" in text
    for word in ("Parameters:", "Returns:", "Raises:"):
        assert word in text


def test_errors_are_on_a_page(anchors):
    kinds = [n for n in gdopt.__all__ if n in vars(errors)]
    assert {f"gdopt.{n}" for n in kinds} <= anchors["reference/gdopt.errors.html"]


def test_each_rule_has_its_formula_and_the_text_of_every_engine(site):
    text = (site / "rules.html").read_text("utf-8")
    assert text.count("<math ") == len(gdopt.rules.__all__) + len(muon_s(text))
    for name in gdopt.rules.__all__:
        _, anchor, rest = text.partition(f'<a id="gdopt.rules.{name}"></a>')
        assert anchor, name
        form = rest.partition('<div class="rule">')[0]
        assert "<math " in form[:100]
        for engine in ("Source", "NumPy", "Numba", "CUDA"):
            assert f"<p>{engine}" in form, (name, engine)


def muon_s(text):
    """Return the formulas of Muon, whose rules are not public."""
    return re.findall(
        "<math ", text.partition('<h2 id="muon">')[2].partition("<h2 ")[0]
    )


def test_each_class_has_the_lines_of_other_libraries(pages, site):
    text = (site / "rules.html").read_text("utf-8")
    sections = dict(
        re.findall(r'<h2 id="(\w+)">(.*?)(?=<h2 |</article)', text, re.DOTALL)
    )
    kinds = {name.lower() for name in gdopt.optim.families.__all__}
    assert kinds <= sections.keys()
    for line in (
        "torch.optim.Adam(",
        "keras.optimizers.Adam(",
        "chainer.optimizers.Adam(",
    ):
        assert line in sections["adam"]
    assert "eps 1e-07 (here 1e-08)" in sections["adam"]
