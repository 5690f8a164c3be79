"""Rows that are not there, and what takes whole arrays, are refused."""

import numpy as np
import pytest
from reducing_rules import row_cap, unit_ball

import gdopt

GENERATOR = np.random.default_rng(72)
E = GENERATOR.standard_normal((9, 3))
W = GENERATOR.standard_normal((2, 4))


def adam(params, **options):
    return gdopt.Adam(params, 0.1, eps_mode="raw", **options)


def unit_columns(p, g, *, lr):
    return p - lr * g / np.linalg.norm(g, axis=0, keepdims=True)


@pytest.mark.peers("torch")
def test_gradients_of_torch_must_have_the_shape_of_the_rows(torch, engine):
    w = torch.nn.Parameter(torch.ones(9, 3))
    opt = adam([w])
    message = r"shape \(2, 3\), got \(9, 3\)"
    with pytest.raises(gdopt.ArgumentError, match=message):
        opt.step([torch.ones(9, 3)], at=[0, 1])
    assert opt.t == 0


def test_a_step_that_is_not_finite_is_skipped_or_refused(unchanged, engine):
    g = np.array([[1.0, np.nan, 1.0]])
    opt = adam(E.copy(), non_finite="skip")
    with unchanged(opt):
        assert opt.step(g, at=[1]) is False
    opt = adam(E.copy(), non_finite="raise")
    with unchanged(opt), pytest.raises(gdopt.ArgumentError, match="must be finite"):
        opt.step(g, at=[1])
    opt = adam(E.copy(), loss_scale="dynamic")
    assert opt.step(g, at=[1]) is False
    assert opt.loss_scale == 2.0**15


@pytest.mark.parametrize(
    ("at", "kind", "message"),
    [
        ([0, -1], gdopt.ArgumentError, r"^rows must be in \[0, 9\), got -1$"),
        ([9, 0], gdopt.ArgumentError, r"^rows must be in \[0, 9\), got 9$"),
        (
            np.array([2**64 - 1, 0], np.uint64),
            gdopt.ArgumentError,
            r"rows must be in \[0, 9\), got 18446744073709551615",
        ),
        (
            np.arange(9) < 2,
            gdopt.ArgumentTypeError,
            r"rows must be integers, got bool: write np.flatnonzero\(mask\)",
        ),
        (
            [0.0, 1.0],
            gdopt.ArgumentTypeError,
            "rows must be a 1-D array of integers, got 1-D float64",
        ),
        (
            [[0, 1]],
            gdopt.ArgumentTypeError,
            "rows must be a 1-D array of integers, got 2-D int64",
        ),
        (3, gdopt.ArgumentTypeError, "1-D array of integers, got 0-D int64"),
        ([[0], [1, 2]], gdopt.ArgumentTypeError, "integers, got 1-D object"),
        ({"F": [0, 1]}, gdopt.ArgumentError, "at must be one of 0, got 'F'"),
        ((slice(0, 2), 1), gdopt.ArgumentTypeError, "must hold rows or slices alone"),
        ((slice(0, 2),) * 3, gdopt.ArgumentError, r"must fit the shape \(9, 3\)"),
        (slice(0, 2, 0), gdopt.ArgumentError, r"must fit the shape \(9, 3\)"),
        (slice(2, 0, -1), gdopt.ArgumentError, "slices must step forwards"),
    ],
)
def test_other_rows_are_refused(at, kind, message, unchanged, numpy_engine):
    opt = adam(E.copy())
    with unchanged(opt), pytest.raises(kind, match=message):
        opt.step(np.ones((2, 3)), at=at)


@pytest.mark.parametrize(
    ("given", "at", "kind", "message"),
    [
        ((2, 3), [4], gdopt.ArgumentTypeError, "must be a mapping where there are sev"),
        ((2, 3), {"E": [-4, 0]}, gdopt.ArgumentError, r"at\['E'\]: rows must be in"),
        ((3, 3), {"E": [4, 0]}, gdopt.ArgumentError, r"shape \(2, 3\), got \(3, 3\)"),
        ((9, 3), {"E": [4, 0]}, gdopt.ArgumentError, r"shape \(2, 3\), got \(9, 3\)"),
        ((2, 3), {"s": [0]}, gdopt.ArgumentError, "rows, but 's' is 0-d"),
        ((2, 3), {"f": [0]}, gdopt.ArgumentError, "at must be one of"),
    ],
)
@pytest.mark.usefixtures("numpy_engine")
def test_rows_of_other_arrays_are_refused(given, at, kind, message, unchanged):
    params = {"E": E.copy(), "s": np.array(1.0), "f": W.copy()}
    opt = adam(params, frozen="f")
    grads = {"E": np.ones(given), "s": np.array(1.0)}
    with unchanged(opt), pytest.raises(kind, match=message):
        opt.step(grads, at=at)


def test_a_gradient_that_is_a_view_of_the_rows_is_refused(unchanged, numpy_engine):
    p = E.copy()
    opt = adam(p)
    with unchanged(opt), pytest.raises(gdopt.ArgumentError, match="share memory"):
        opt.step(p[:2], at=[0, 1])
    opt.step(np.concatenate([p, p])[9:11], at=[0, 1])
    memory = np.zeros((24, 3))  # the gradient of 18 rows reaches the parameter of 9
    opt = adam(memory[15:])
    with unchanged(opt), pytest.raises(gdopt.ArgumentError, match="share memory"):
        opt.step(memory[:18], at=np.repeat(np.arange(9), 2))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda p: adam(p, accumulate=2), r"accumulate=2"),
        (lambda p: adam(p, lookahead=(5, 0.5)), r"lookahead=\(5, 0.5\)"),
        (lambda p: adam(p, swa_start=3), r"swa_start=3"),
        (lambda p: adam(p, agc=0.1, unit_axis=1), r"agc=0.1"),
        (gdopt.Muon, "Muon"),
        (gdopt.LAMB, "lamb"),
        (gdopt.LARS, "lars"),
        (gdopt.Adafactor, "adafactor"),
        (lambda p: gdopt.Optimizer(p, unit_ball, lr=0.1), "unit_ball"),
        (lambda p: gdopt.Optimizer(p, unit_columns, lr=0.1), "unit_columns"),
        (lambda p: gdopt.LAMB(p, clip_norm=1.0), "lamb"),
        (
            lambda p: gdopt.Optimizer(p, lambda p, g: p - g / p.size),
            "<lambda>",
        ),
    ],
)
def test_what_takes_whole_arrays_refuses_rows(make, what, unchanged, numpy_engine):
    opt = make({"E": E.copy()})
    message = f"^at= updates rows alone, but {what} needs the whole of 'E'$"
    with unchanged(opt), pytest.raises(gdopt.ArgumentError, match=message):
        opt.step({"E": np.ones((2, 3))}, at={"E": [0, 1]})


def test_a_vector_is_one_unit_of_agc(unchanged, numpy_engine):
    opt = gdopt.SGD(np.ones(9), 0.1, agc=0.1, unit_axis=0)
    with unchanged(opt), pytest.raises(gdopt.ArgumentError, match=r"agc=0.1 needs"):
        opt.step(np.ones(2), at=[0, 1])


def test_a_rule_that_reduces_rows_takes_whole_rows(unchanged, numpy_engine):
    opt = gdopt.Optimizer(E.copy(), row_cap, lr=0.1, cap=1.0)
    opt.step(np.ones((2, 3)), at=(slice(0, 2), slice(None)))
    with unchanged(opt), pytest.raises(gdopt.ArgumentError, match="the whole of"):
        opt.step(np.ones((2, 2)), at=(slice(0, 2), slice(0, 2)))
