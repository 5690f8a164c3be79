import subprocess
import sys

import pytest
from data.examples import IRIS

from gdopt.data import read, read_csv, read_idx, read_npz
from gdopt.errors import ArgumentError


@pytest.mark.parametrize("name", ["data.xls", "data", "idx3-ubyte"])
def test_an_unknown_format_is_refused(write, name):
    message = r"the name must end in \.npz, \.csv, \.tsv, \.txt or -images-idx3-ubyte"
    with pytest.raises(ArgumentError, match=message):
        read(write("1,2\n", name))


@pytest.mark.parametrize("reader", [read, read_csv, read_idx, read_npz])
def test_a_file_that_is_not_there_is_refused(tmp_path, reader):
    with pytest.raises(ArgumentError, match=r"got nothing at '.*missing\.csv'"):
        reader(tmp_path / "missing.csv")
    with pytest.raises(ArgumentError, match="got a folder at"):
        reader(tmp_path)


def test_upper_case_names_and_text_paths_are_read(write):
    assert read(str(write(IRIS, "IRIS.CSV"))).X.shape == (3, 2)


def test_options_of_csv_are_refused_for_other_formats(write):
    with pytest.raises(ArgumentError, match="only CSV has target"):
        read(write(b"", "data.npz"), target=1)


def test_what_was_read_may_be_written_to(write):
    data = read(write(IRIS))
    data.X[0, 0] = 7
    data.y[0] = 7
    assert (data.X[0, 0], data.y[0]) == (7, 7)


def test_readers_are_imported_where_first_used():
    code = (
        "import sys, gdopt.data; "
        "assert 'gdopt.data.readers' not in sys.modules; "
        "assert gdopt.data.read.__module__ == 'gdopt.data.readers'; "
        "assert not hasattr(gdopt.data, 'nothing')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
