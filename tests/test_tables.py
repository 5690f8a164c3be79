import pytest

import gdopt
from gdopt.tables import format_bytes, parse_bytes


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (0, 0),
        (12345, 12345),
        ("8GB", 8_000_000_000),
        ("8 gb", 8_000_000_000),
        ("1.5 GiB", 1_610_612_736),
        (".5kB", 500),
        ("100 B", 100),
        ("2TiB", 2 << 40),
        (" 3 MB ", 3_000_000),
    ],
)
def test_amounts_are_read_as_people_write_them(text, count):
    assert parse_bytes("memory", text) == count


@pytest.mark.parametrize("text", ["8", "GB", "-1GB", "8 XB", "1e9", "", "8GB of it"])
def test_other_texts_are_refused_with_the_units(text):
    with pytest.raises(
        gdopt.ArgumentError, match=r"memory must be bytes, or .* B, kB, MB"
    ):
        parse_bytes("memory", text)


@pytest.mark.parametrize("value", [-1, 1.5, None, True])
def test_other_kinds_are_refused(value):
    with pytest.raises(gdopt.GdoptError, match="memory must be a whole number"):
        parse_bytes("memory", value)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9_996, "10.0 kB"),
        (99_960, "100 kB"),
        (999_600, "1.00 MB"),
        (123_456_789, "123 MB"),
        (5 << 40, "5.50 TB"),
        (-2_000_000, "-2.00 MB"),
    ],
)
def test_amounts_are_written_with_three_digits(count, text):
    assert format_bytes(count) == text
