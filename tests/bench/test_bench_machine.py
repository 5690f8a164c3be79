"""Every figure tells the machine, the versions and the commit that it comes from."""

import machine
import pytest

from gdopt.cli.info import collect


def test_figures_carry_what_gdopt_info_tells():
    assert machine.describe()["info"] == collect()


def test_an_image_without_a_repository_names_its_commit(monkeypatch):
    monkeypatch.setattr(machine, "_git", lambda *_: "unknown")
    monkeypatch.setenv("GDOPT_BENCH_COMMIT", "abc123")
    found = machine.describe()
    assert (found["commit"], found["changed_since"]) == ("abc123", None)


@pytest.mark.parametrize(("said", "changed"), [("", False), (" M optim.py", True)])
def test_a_repository_tells_whether_it_has_changed(monkeypatch, said, changed):
    monkeypatch.delenv("GDOPT_BENCH_COMMIT", raising=False)
    monkeypatch.setattr(machine, "_git", lambda *_: said)
    found = machine.describe()
    assert (found["commit"], found["changed_since"]) == (said, changed)
