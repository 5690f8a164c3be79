"""The guide's page of rules is generated from the table of parity, and is current."""

import re

import pytest
from oracles import CASES, MATRIX_CASES
from parity import page

import gdopt


@pytest.mark.peers("torch", "jax", "keras", "optax")
def test_the_page_is_current(keras):
    assert page.PAGE.read_text("utf-8") == page.page()


def test_the_page_has_every_class_that_another_library_has():
    rows = [*CASES.values(), *MATRIX_CASES.values()]
    libraries = ("torch", "keras", "optax", "chainer")
    shared = {c.kind.__name__ for c in rows if any(getattr(c, n) for n in libraries)}
    text = page.PAGE.read_text("utf-8")
    text = "".join(re.findall(r"<!-- lines of \w+: begin(.*?)end -->", text, re.DOTALL))
    assert set(re.findall(r"`gdopt\.(\w+)\(", text)) == shared
    assert shared <= set(gdopt.__all__)


def test_chainers_and_the_courses_lines_are_rows_of_the_table():
    assert page.CHAINER.keys() == {name for name, c in CASES.items() if c.chainer}
    assert page.COURSE.keys() <= CASES.keys()
