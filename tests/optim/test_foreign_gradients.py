"""Gradients of torch, JAX and other libraries update NumPy's arrays."""

from types import SimpleNamespace

import numpy as np
import pytest

import gdopt


@pytest.fixture
def optimizer(numpy_engine):
    return gdopt.Adam({"W": np.ones((2, 3), np.float32), "b": np.ones(3, np.float32)})


def expected(steps=1):
    params = {"W": np.ones((2, 3), np.float32), "b": np.ones(3, np.float32)}
    own = gdopt.Adam(params)
    for _ in range(steps):
        own.step({"W": np.full((2, 3), 2.0, np.float32), "b": np.ones(3, np.float32)})
    return params


def assert_equal(found, wanted):
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.peers("torch")
def test_tensors_of_torch_are_taken(torch, optimizer):
    optimizer.step({"W": torch.full((2, 3), 2.0), "b": torch.ones(3)})
    own = np.ones(3, np.float32)
    optimizer.step([torch.full((3, 2), 2.0, requires_grad=True).t(), own])
    assert_equal(optimizer.params, expected(2))


@pytest.mark.peers("torch")
def test_the_sign_of_a_tensor_with_the_negative_bit_is_read(torch, numpy_engine):
    p = np.zeros(2, np.float32)
    gradient = torch.tensor([1 + 2j, 3 - 4j]).conj().imag
    assert gradient.is_neg()
    gdopt.SGD(p, 1.0).step(gradient)
    assert p.tolist() == [2.0, -4.0]


@pytest.mark.peers("torch")
def test_bfloat16_of_torch_is_taken(torch, engine):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    p = np.zeros(3, ml_dtypes.bfloat16)
    gdopt.SGD(p, 0.5).step(torch.tensor([1.0, -3.0, 8.0], dtype=torch.bfloat16))
    assert p.tolist() == [-0.5, 1.5, -4.0]


@pytest.mark.peers("torch")
def test_a_tensor_over_a_parameter_is_refused(torch, unchanged, numpy_engine):
    p = np.ones(3)
    optimizer = gdopt.Adam(p)
    message = "must not share memory with the parameter"
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match=message):
        optimizer.step(torch.from_numpy(p))


@pytest.mark.peers("torch")
def test_a_tensor_on_another_device_is_refused(torch, unchanged, optimizer):
    grads = {"W": torch.ones(2, 3), "b": torch.ones(3, device="meta")}
    message = "'b' must be a numpy array on cpu, got a torch.Tensor on meta"
    with unchanged(optimizer), pytest.raises(gdopt.BackendError, match=message):
        optimizer.step(grads)


@pytest.mark.peers("jax")
def test_arrays_of_jax_are_taken_without_a_copy(jax, optimizer, monkeypatch):
    jnp = jax.numpy
    seen = []
    run = optimizer.executor.run
    monkeypatch.setattr(optimizer.executor, "run", lambda g: seen.extend(g) or run(g))
    grads = {"W": jnp.full((2, 3), 2.0, jnp.float32), "b": jnp.ones(3, jnp.float32)}
    optimizer.step(grads)
    assert_equal(optimizer.params, expected())
    assert [a.ctypes.data for a in seen] == [
        one.unsafe_buffer_pointer() for one in grads.values()
    ]


@pytest.mark.peers("jax")
def test_gradients_of_jax_may_be_donated_after_the_step(jax, optimizer):
    jnp = jax.numpy
    grads = {"W": jnp.full((2, 3), 2.0, jnp.float32), "b": jnp.ones(3, jnp.float32)}
    optimizer.step(grads)
    places = [one.unsafe_buffer_pointer() for one in grads.values()]
    double = jax.jit(lambda g: jax.tree.map(lambda a: 2 * a, g), donate_argnums=0)
    found = double(grads)  # which a view would make copies
    assert [one.unsafe_buffer_pointer() for one in found.values()] == places


@pytest.mark.peers("jax")
def test_bfloat16_of_jax_is_taken(jax, engine):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    p = np.zeros(2, ml_dtypes.bfloat16)
    gdopt.SGD(p, 0.5).step(jax.numpy.asarray([1.0, -3.0], jax.numpy.bfloat16))
    assert p.tolist() == [-0.5, 1.5]


@pytest.mark.peers("jax")
def test_gradients_by_name_may_come_in_jax_s_order(jax, numpy_engine):
    params = {"b": np.zeros(2, np.float32), "W": np.zeros(2, np.float32)}
    grads = jax.grad(lambda p: (p["b"] * 2).sum() + (p["W"] * 3).sum())(params)
    grads = jax.tree.map(lambda g: g, grads)
    assert list(grads) == ["W", "b"]
    gdopt.SGD(params, 1.0).step(grads)
    assert [params["b"].tolist(), params["W"].tolist()] == [[-2.0] * 2, [-3.0] * 2]


@pytest.mark.peers("jax")
def test_float32_of_jax_for_float64_names_the_setting(jax, unchanged, numpy_engine):
    optimizer = gdopt.Adam(np.ones(3))
    message = "float64, got float32: set jax_enable_x64, or make the parameter float32"
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentTypeError, match=message):
        optimizer.step(jax.numpy.ones(3, jax.numpy.float32))


@pytest.mark.peers("jax")
def test_a_step_inside_jit_is_refused(jax, unchanged, optimizer):
    def step(g):
        optimizer.step({"W": g, "b": g[0]})

    message = "opt.step cannot run inside jax.jit: return the gradients and call it out"
    for inside in (jax.jit(step), jax.grad(step)):
        with (
            unchanged(optimizer),
            pytest.raises(gdopt.ArgumentTypeError, match=message),
        ):
            inside(jax.numpy.ones((2, 3), jax.numpy.float32))


@pytest.mark.parametrize(
    ("devices", "where"),
    [([("cpu", 0), ("cpu", 1)], "cpu:0, cpu:1"), ([("gpu", 1)], "cuda:1")],
)
@pytest.mark.peers("jax")
def test_an_array_of_jax_on_other_devices_is_refused(
    devices, where, jax, optimizer, monkeypatch
):
    stand_ins = [SimpleNamespace(platform=p, local_hardware_id=k) for p, k in devices]
    b = jax.numpy.ones(3, jax.numpy.float32)
    monkeypatch.setattr(type(b), "devices", lambda _: stand_ins)
    message = f"'b' must be a numpy array on cpu, got a .*ArrayImpl on {where}"
    with pytest.raises(gdopt.BackendError, match=message):
        optimizer.step({"W": np.ones((2, 3), np.float32), "b": b})
