"""Complex parameters take the steps of torch (split) and of optax (modulus)."""

import numpy as np
import pytest

import gdopt

STEPS, UNKNOWNS = 50, 7


def matrices(seed):
    """Return A, b and a start of the problem ``|A z - b|**2``."""
    rng = np.random.default_rng(seed)
    shapes = (UNKNOWNS, UNKNOWNS), UNKNOWNS, UNKNOWNS
    return [rng.standard_normal(s) + 1j * rng.standard_normal(s) for s in shapes]


def slope(A, b, z):
    return 2 * A.conj().T @ (A @ z - b)


def descend(kind, seed, rate, **options):
    A, b, z = matrices(seed)
    optimizer = kind(z, rate, **options)
    for _ in range(STEPS):
        optimizer.step(slope(A, b, z))
    return z


def ours(kind, **options):
    return lambda p, lr, **more: kind(p, lr, **options, **more)


LINEAR = {"SGD", "SGD, momentum", "ASGD"}
TORCH = {  # our class, torch's options, the rate
    "SGD": (gdopt.SGD, {}, 1e-3),
    "SGD, momentum": (ours(gdopt.SGD, momentum=0.9), {"momentum": 0.9}, 1e-3),
    "ASGD": (gdopt.ASGD, {}, 1e-3),
    "Adam": (gdopt.Adam, {}, 0.05),
    "Adam, amsgrad": (ours(gdopt.Adam, amsgrad=True), {"amsgrad": True}, 0.05),
    "AdamW": (gdopt.AdamW, {"weight_decay": 0.01}, 0.05),
    "RMSprop": (ours(gdopt.RMSprop, beta=0.99), {}, 0.05),
    "Adagrad": (ours(gdopt.Adagrad, eps=1e-10), {}, 0.05),
    "Adadelta": (gdopt.Adadelta, {}, 0.05),
    "Adamax": (gdopt.Adamax, {}, 0.05),
    "NAdam": (gdopt.NAdam, {}, 0.05),
    "RAdam": (gdopt.RAdam, {}, 0.05),
}


@pytest.mark.peers("torch")
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", TORCH)
def test_split_is_what_torch_does(numpy_engine, torch, name, seed):
    kind, options, rate = TORCH[name]
    mode = {} if name in LINEAR else {"complex_mode": "split"}
    found = descend(kind, seed, rate, **mode)
    A, b, z = matrices(seed)
    tensor = torch.tensor(z)
    peer = getattr(torch.optim, name.split(",")[0])([tensor], lr=rate, **options)
    for _ in range(STEPS):
        tensor.grad = torch.tensor(slope(A, b, tensor.numpy()))
        peer.step()
    # torch keeps the product of NAdam and the rates of ASGD in float32.
    atol = 1e-8 if name in {"NAdam", "ASGD"} else 1e-14
    np.testing.assert_allclose(found, tensor.numpy(), rtol=0, atol=atol)


OPTAX = {
    "adam": (gdopt.Adam, {}),
    "amsgrad": (ours(gdopt.Adam, amsgrad=True, amsgrad_form="optax"), {}),
    "nadam": (ours(gdopt.Adam, nesterov=True), {}),
    "adagrad": (
        ours(gdopt.Adagrad, initial_accumulator=0.1, eps=1e-7, eps_mode="inside"),
        {},
    ),
    "adamax": (gdopt.Adamax, {}),
    "rmsprop": (ours(gdopt.RMSprop, beta=0.9, eps_mode="inside"), {}),
    "adabelief": (gdopt.AdaBelief, {"eps": 1e-16, "eps_root": 1e-16}),
}


@pytest.mark.peers("optax")
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", OPTAX)
def test_modulus_is_what_optax_does(numpy_engine, jax, name, seed):
    import optax

    kind, options = OPTAX[name]
    found = descend(kind, seed, 0.05, complex_mode="modulus")
    expected = follow(jax, getattr(optax, name)(0.05, **options), seed)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def follow(jax, peer, seed):
    A, b, z = matrices(seed)
    state = peer.init(z)
    for _ in range(STEPS):
        updates, state = peer.update(jax.numpy.asarray(slope(A, b, z)), state, z)
        z = np.asarray(z + updates)
    return z


@pytest.mark.peers("optax")
def test_split_is_what_optax_does_when_it_is_asked(numpy_engine, jax):
    import optax

    peer = optax.contrib.split_real_and_imaginary(optax.adam(0.05))
    found = descend(gdopt.Adam, 0, 0.05, complex_mode="split")
    np.testing.assert_allclose(found, follow(jax, peer, 0), rtol=0, atol=1e-14)


@pytest.mark.peers("torch", "jax")
def test_gradients_are_torchs_and_the_conjugates_of_jaxs(torch, jax):
    A, b, z = matrices(0)
    tensor = torch.tensor(z, requires_grad=True)
    residual = torch.tensor(A) @ tensor - torch.tensor(b)
    (residual.conj() @ residual).real.backward()

    def loss(z):
        return (jax.numpy.abs(A @ z - b) ** 2).sum()

    theirs = np.asarray(jax.grad(loss)(jax.numpy.asarray(z)))
    np.testing.assert_allclose(slope(A, b, z), tensor.grad.numpy(), rtol=1e-13)
    np.testing.assert_allclose(slope(A, b, z), theirs.conj(), rtol=1e-13)
    grads = lambda z: ((np.abs(A @ z - b) ** 2).sum(), slope(A, b, z))  # noqa: E731
    assert gdopt.check_gradient(grads, z).verdict == "great"
