"""A test that needs another library says so by its marker, which names the extra."""

import re
from pathlib import Path

import pytest
from peers import PEERS, skip_without_peers

SKIPS = re.compile(rf"importorskip\(\W*(?:{'|'.join(PEERS)})\b")


def test_no_test_skips_by_itself_what_needs_a_peer():
    files = Path(__file__).parent.rglob("*.py")
    found = [file.name for file in files if SKIPS.search(file.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_is_missing_is_named_with_its_extra(name, request, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    request.node.add_marker(pytest.mark.peers(name))
    with pytest.raises(pytest.skip.Exception, match=rf"^needs {name}: pip install"):
        skip_without_peers(request.node)
