"""What would train nothing, or write one number twice, is refused; nothing changes."""

import numpy as np
import pytest

import gdopt
from gdopt.nn import Network, normalization
from gdopt.nn.layers import dense


class Model:
    def __init__(self):
        self.params = {"w": np.ones(2)}

    def loss_and_grads(self, x):
        return 0.0, {"w": np.ones(2)}


class Empty:
    def __len__(self):
        return 0

    def __iter__(self):
        return iter(())


@pytest.mark.parametrize(
    "batches", [{}, {"x": 1}, [], (), "", Empty(), iter([1]), np.ones((3, 2)), None, 3]
)
@pytest.mark.parametrize("make", [Model, lambda: Network((2, 2), backend="numpy")])
def test_batches_that_hold_none_are_refused(batches, make):
    model = make()
    with pytest.raises(gdopt.ArgumentTypeError, match="batches must be"):
        gdopt.fit(model, gdopt.SGD(model.params, 0.5), batches, epochs=1)
    if isinstance(model, Model) and batches is not None:
        with pytest.raises(gdopt.ArgumentTypeError, match="data must be"):
            gdopt.minimize(len, np.ones(2), data=batches, epochs=1)


def maps(folder, *places, mode="r+", view=lambda array: array):
    path = folder / "weights"
    np.zeros(16).tofile(path)
    made = [np.memmap(path, float, mode, 8 * at, (4,)) for at in places]
    return [view(one) for one in made]


@pytest.mark.parametrize(
    "view", [lambda a: a, np.asarray, lambda a: a[::-1], lambda a: np.asarray(a)[1:]]
)
@pytest.mark.parametrize("make", [lambda p: gdopt.SGD(p, 0.5), gdopt.Arena.of])
def test_maps_of_one_part_of_a_file_are_refused(tmp_path, view, make):
    with pytest.raises(gdopt.ArgumentError, match=r"overlap in .*weights"):
        make(maps(tmp_path, 0, 1, view=view))
    make(maps(tmp_path, 0, 4, view=view))
    make(maps(tmp_path, 0, 0, mode="c", view=view))


def test_a_link_to_a_mapped_file_is_that_file(tmp_path):
    (first,) = maps(tmp_path, 0)
    (tmp_path / "link").symlink_to(tmp_path / "weights")
    second = np.memmap(tmp_path / "link", float, "r+", 0, (4,))
    with pytest.raises(gdopt.ArgumentError, match="overlap"):
        gdopt.SGD({"a": first, "b": second}, 0.5)


def shift(x, out):
    return x, x + 1


def overlapping(size=4):
    memory = np.zeros(size + 1)
    return memory[1:], memory[:-1]


OVERLAPS = {
    "parameters": lambda: gdopt.SGD(overlapping(), 0.5),
    "an arena": lambda: gdopt.Arena.of(overlapping()),
    "a kernel's arrays": lambda: gdopt.Kernel(shift)(*overlapping()),
    "an average": lambda: gdopt.EWA(0.5).update(*overlapping()),
    "gradients of a layer": lambda: dense(
        np.ones((2, 1)), np.ones((1, 4)), np.ones(4), GRADS, GRADS[0]
    ),
    "gradients of a batch norm": lambda: normalization.batch_norm(
        np.ones((2, 4)), np.ones(4), np.ones(4), *overlapping()
    ),
    "gradients of a layer norm": lambda: normalization.layer_norm(
        np.ones((2, 4)), np.ones(4), np.ones(4), *overlapping()
    ),
}
GRADS = np.zeros((1, 4))


@pytest.mark.parametrize("name", OVERLAPS)
def test_arrays_that_overlap_are_refused(name, numpy_engine):
    with pytest.raises(gdopt.ArgumentError, match=r"share (no )?memory"):
        OVERLAPS[name]()


@pytest.mark.parametrize("given", [0.25, {"a": 0.25, "b": 0.5}])
@pytest.mark.parametrize("by_name", [False, True])
def test_a_number_over_a_schedule_is_taken_with_a_warning(given, by_name, numpy_engine):
    schedule = lambda step: 0.5  # noqa: E731
    lr = {"a": schedule, "b": 0.5} if by_name else schedule
    opt = gdopt.SGD({"a": np.ones(2), "b": np.ones(2)}, lr)
    with pytest.warns(UserWarning, match="lr was a schedule, which ends here"):
        opt.lr = given
    opt.lr = 0.125
    opt.lr = schedule
    assert opt.step({"a": np.ones(2), "b": np.ones(2)})
