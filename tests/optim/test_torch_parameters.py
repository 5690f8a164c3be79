"""torch's own parameters are updated in place, with the gradients that they carry."""

import weakref

import numpy as np
import pytest
from scripted import begin, losses
from torch_models import descend, loss_of, make_model, parameter

import gdopt

pytestmark = [pytest.mark.peers("torch"), pytest.mark.usefixtures("one_thread")]


def signed(p, m, g, *, lr, beta):
    m = beta * m + (1 - beta) * np.sign(g)
    return p - lr * m, m


@pytest.mark.parametrize(("name", "named"), [("SGD", False), ("AdamW", True)])
def test_fifty_steps_are_those_of_torch_s_own_optimizer(name, named, torch, engine):
    (model, *data), (other, *_) = make_model(torch), make_model(torch)
    hyper = {"lr": 0.01, "weight_decay": 0.01}
    params = dict(model.named_parameters()) if named else list(model.parameters())
    mode = {} if name == "AdamW" else {"decay_mode": "coupled"}
    descend(getattr(gdopt, name)(params, **hyper, **mode), model, *data)
    descend(getattr(torch.optim, name)(other.parameters(), **hyper), other, *data)
    for own, theirs in zip(model.parameters(), other.parameters(), strict=True):
        # Rounding differs at each of 50 steps, and the gradients follow.
        torch.testing.assert_close(own, theirs, rtol=2e-5, atol=2e-6)


def test_a_rule_of_one_s_own_updates_parameters(torch, engine):
    (model, x, y), (other, *_) = make_model(torch), make_model(torch)
    moments = [torch.zeros_like(p) for p in other.parameters()]
    optimizer = gdopt.Optimizer(list(model.parameters()), signed, lr=1e-2, beta=0.9)
    descend(optimizer, model, x, y)
    for _ in range(50):
        other.zero_grad()
        loss_of(other, x, y).backward()
        with torch.no_grad():
            for p, m in zip(other.parameters(), moments, strict=True):
                m.mul_(0.9).add_(p.grad.sign(), alpha=1 - 0.9)
                p.sub_(1e-2 * m)
    for own, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(own, theirs, rtol=2e-5, atol=2e-6)
    assert loss_of(model, x, y) < loss_of(make_model(torch)[0], x, y) - 0.2


def test_bfloat16_is_torch_s_float32_rounded_after_each_step(torch, engine):
    model, x, y = make_model(torch, torch.bfloat16)
    wide = [p.detach().float().requires_grad_() for p in model.parameters()]
    own = gdopt.AdamW(list(model.parameters()), 0.01, weight_decay=0.01)
    theirs = torch.optim.AdamW(wide, 0.01, weight_decay=0.01)
    for _ in range(50):
        own.zero_grad()
        loss_of(model, x, y).backward()
        for p, q in zip(model.parameters(), wide, strict=True):
            q.grad = p.grad.float()
        own.step()
        theirs.step()
        for p, q in zip(model.parameters(), wide, strict=True):
            q.data.copy_(q.bfloat16())
            # The last bit of float32 may decide how a tie is rounded: one unit.
            torch.testing.assert_close(p.float(), q, rtol=2**-8, atol=0)
            assert (p.float() == q).float().mean() > 0.9
            q.data.copy_(p.float())


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64"])
def test_every_dtype_is_updated_where_it_lies(kind, torch, engine):
    dtype = getattr(torch, kind)
    p = parameter(
        torch, [[1.0, 2.0], [3.0, 4.0]], [[2.0, 0.0], [2.0, 4.0]], dtype=dtype
    )
    place = p.data_ptr()
    optimizer = gdopt.SGD([p, turned := parameter(torch, 3.0, 1.0, dtype=dtype)], 0.5)
    assert optimizer.step() is True
    assert p.data_ptr() == place
    assert p.tolist() == [[0.0, 2.0], [2.0, 2.0]]
    assert turned.item() == 2.5


def test_parameters_and_gradients_of_any_strides_are_taken(torch, engine):
    base = torch.arange(12.0).reshape(3, 4)
    turned = torch.nn.Parameter(base.t()[::2])
    turned.grad = torch.ones(3, 2).t()
    alone = torch.nn.Parameter(torch.zeros(2, 3))
    (alone.grad,) = torch.autograd.grad(alone.sum(), alone)  # expanded: strides of 0
    gdopt.SGD([turned, alone], 1.0).step()
    assert turned.tolist() == [[-1.0, 3.0, 7.0], [1.0, 5.0, 9.0]]
    assert alone.tolist() == [[-1.0] * 3] * 2
    assert base[:, 1].tolist() == [1.0, 5.0, 9.0]


def test_gradients_may_lie_in_one_bucket(torch, engine):
    bucket = torch.ones(7)
    params = [parameter(torch, [0.0] * n) for n in (3, 4)]
    params[0].grad, params[1].grad = bucket[4:], bucket[:4]
    gdopt.SGD(params, 1.0).step()
    assert [p.tolist() for p in params] == [[-1.0] * 3, [-1.0] * 4]


def test_a_gradient_with_a_graph_of_its_own_is_read(torch, engine):
    p = parameter(torch, [3.0])
    (p.grad,) = torch.autograd.grad((p**2).sum(), p, create_graph=True)
    gdopt.SGD([p], 0.5).step()
    assert p.tolist() == [0.0]


def test_gradients_that_are_given_are_taken_and_those_carried_are_not(torch, engine):
    p, q = parameter(torch, [1.0], [100.0]), parameter(torch, [2.0], [100.0])
    optimizer = gdopt.SGD({"p": p, "q": q}, 1.0)
    optimizer.step([torch.ones(1), torch.ones(1)])
    optimizer.step({"q": np.full(1, 2.0, np.float32), "p": torch.ones(1)})
    assert [p.item(), q.item()] == [-1.0, -1.0]
    alone = gdopt.SGD(p, 1.0)
    alone.step(torch.ones(1))
    assert p.item() == -2.0


def cubed(torch, **options):
    """Make 3 w^3 at w = 2, gone back through once with its graph retained."""
    w = parameter(torch, [2.0])
    optimizer = gdopt.SGD([w], 0.1, **options)
    loss = (w * w * w * 3).sum()
    loss.backward(retain_graph=True)
    assert w.grad.item() == 36.0
    return w, optimizer, loss


def test_going_back_through_a_graph_from_before_a_step_is_refused(torch, engine):
    _, optimizer, loss = cubed(torch)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("way", ["skipped", "accumulated", "refused", "frozen"])
def test_a_graph_stays_valid_while_nothing_was_updated(way, torch, numpy_engine):
    options = {
        "skipped": {"non_finite": "skip"},
        "accumulated": {"accumulate": 2},
    }.get(way, {})
    w, optimizer, loss = cubed(torch, **options)
    if way == "frozen":
        other = parameter(torch, [1.0], [1.0])
        gdopt.SGD([w, other], 0.1, frozen="0").step()
    elif way == "refused":
        with pytest.raises(gdopt.ArgumentTypeError):
            optimizer.step([torch.ones(1, dtype=torch.float64)])
    else:
        if way == "skipped":
            w.grad.fill_(torch.inf)
        assert optimizer.step() is False
    w.grad = None
    loss.backward(retain_graph=True)
    assert w.grad.item() == 36.0
    if way == "accumulated":
        assert optimizer.step() is True
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_each_update_counts_once(torch, numpy_engine):
    params = [parameter(torch, [2.0], [1.0]) for _ in range(3)]
    before = [p._version for p in params]
    gdopt.Adam(params, clip_norm=1.0, ema=0.9).step()
    assert [p._version for p in params] == [version + 1 for version in before]


def test_averages_that_show_count_as_updates(torch, numpy_engine):
    _, optimizer, loss = cubed(torch, ema=0.5)
    with optimizer.averaged():
        pass
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_parameters_that_early_stopping_restores_count_as_updated(torch, numpy_engine):
    w, _, loss = cubed(torch)
    stopping = begin(gdopt.training.EarlyStopping(1), [w])
    losses(stopping, [0.5])
    stopping.end(None)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_no_view_of_a_gradient_outlives_a_step(kind, torch, engine):
    memory = np.ones(3, np.float32 if kind == "float32" else np.int16)
    p = torch.nn.Parameter(torch.zeros(3, dtype=getattr(torch, kind)))
    p.grad = torch.from_numpy(memory).view(p.dtype)
    optimizer = gdopt.Adam([p, parameter(torch, [1.0], [1.0])], clip_norm=1.0)
    optimizer.step()
    kept = weakref.ref(memory)
    optimizer.zero_grad()
    del memory
    assert kept() is None


def test_zero_grad_takes_the_gradients_away(torch, numpy_engine):
    params = [parameter(torch, [1.0], [1.0]) for _ in range(2)]
    gdopt.SGD(params, frozen="1").zero_grad()
    assert [p.grad for p in params] == [None, None]


@pytest.mark.parametrize("name", ["Muon", "Adafactor", "ScheduleFreeSGD", "LAMB"])
def test_optimizers_of_every_kind_take_them(name, torch, numpy_engine):
    model, *data = make_model(torch)
    before = loss_of(model, *data).item()
    optimizer = getattr(gdopt, name)(dict(model.named_parameters()), lr=0.02)
    descend(optimizer, model, *data, steps=5)
    assert loss_of(model, *data).item() < before
    versions = [p._version for p in model.parameters()]
    optimizer.zero_grad()
    loss_of(model, *data).backward()
    optimizer.step()
    assert [p._version for p in model.parameters()] == [v + 1 for v in versions]


def test_a_compiled_model_sees_the_updates(torch, numpy_engine):
    p = torch.nn.Linear(1, 1, bias=False)
    compiled = torch.compile(p, backend="eager")
    optimizer = gdopt.SGD(dict(compiled.named_parameters()), 1.0)
    assert list(optimizer.params) == ["_orig_mod.weight"]
    x = torch.ones(1, 1)
    before = compiled(x)
    before.backward()
    optimizer.step()
    assert compiled(x).item() == pytest.approx(before.item() - 1.0)


def test_a_model_in_parallel_gets_its_updates(torch, numpy_engine):
    dist = torch.distributed
    if not dist.is_available():
        pytest.skip("torch was built without distributed")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        (model, *data), (other, *_) = make_model(torch), make_model(torch)
        parallel = torch.nn.parallel.DistributedDataParallel(
            model, gradient_as_bucket_view=True
        )
        optimizer = gdopt.SGD(dict(parallel.named_parameters()), 0.1)
        assert next(iter(optimizer.params)) == "module.0.weight"
        descend(optimizer, parallel, *data, steps=3)
        descend(torch.optim.SGD(other.parameters(), 0.1), other, *data, steps=3)
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-7)
    finally:
        dist.destroy_process_group()


def test_a_sparse_gradient_updates_its_rows(torch, engine):
    table = torch.nn.Embedding(4, 2, sparse=True)
    other = torch.nn.Embedding.from_pretrained(table.weight.detach().clone())
    p, q = table.weight, other.weight.requires_grad_()
    optimizer = gdopt.Adam(p, 0.1, eps_mode="raw")
    peer = torch.optim.SparseAdam([q], 0.1)
    for rows in ([1, 3, 1], [3], [0, 0]):
        for one in (p, q):
            one.grad = None
        table(torch.tensor(rows)).sum().backward()
        g = p.grad.coalesce()
        q.grad = g.clone()
        version = p._version
        optimizer.step(g.values(), at=g.indices()[0])
        peer.step()
        assert p._version == version + 1
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-7)


def test_parameters_without_a_gradient_are_left_out(torch, engine):
    model, x, y = make_model(torch)
    first, *_ = params = list(model.parameters())
    first.requires_grad_(requires_grad=False)
    optimizer = gdopt.Adam(params, clip_norm=10.0)
    loss_of(model, x, y).backward()
    before = [p.detach().clone() for p in params]
    versions = [p._version for p in params]
    optimizer.step()
    assert torch.equal(first, before[0])
    assert not any(map(torch.equal, params[1:], before[1:]))
    assert [p._version - v for p, v in zip(params, versions, strict=True)] == [
        0,
        1,
        1,
        1,
    ]
    assert not optimizer.state["0"]["m"].any()
    norm = sum(p.grad.double().square().sum() for p in params[1:]).sqrt().item()
    assert optimizer.grad_norm == pytest.approx(norm, rel=1e-6)


def test_torch_counts_for_each_parameter_and_agrees_while_none_is_missing(
    torch, numpy_engine
):
    own, theirs = parameter(torch, [1.0]), parameter(torch, [1.0])
    other = parameter(torch, [1.0])
    optimizer = gdopt.Adam([own, other], 0.1)
    peer = torch.optim.Adam([theirs], 0.1)
    other.grad = torch.ones(1)
    optimizer.step()  # has no gradient for the first one
    own.grad, theirs.grad = torch.ones(1), torch.ones(1)
    optimizer.step()
    peer.step()
    assert theirs.item() == pytest.approx(0.9)
    assert own.item() == pytest.approx(0.9255863, abs=1e-6)


def test_parameters_are_frozen_and_replaced_between_steps(torch, numpy_engine):
    params = {"W": parameter(torch, [1.0, 1.0]), "b": parameter(torch, [1.0], [1.0])}
    optimizer = gdopt.SGD(params, 1.0, frozen="W")
    optimizer.step()
    assert params["b"].item() == 0.0
    optimizer.frozen = ()
    params["W"].grad = torch.ones(2)
    optimizer.step()
    assert params["W"].tolist() == [0.0, 0.0]
    optimizer.frozen = "b"
    grown = parameter(torch, [5.0] * 3, [1.0] * 3)
    optimizer.replace("W", grown)
    optimizer.step()
    assert params["W"] is grown
    assert grown.tolist() == [4.0] * 3
    assert params["b"].item() == -1.0
    optimizer.zero_grad()
    assert params["W"].grad is None
