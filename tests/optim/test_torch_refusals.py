"""Parameters of torch that cannot be updated are refused before anything changes."""

import copy
import pickle

import numpy as np
import pytest
from torch_models import descend, make_model, parameter

import gdopt
from gdopt.optim import gradients as checks

pytestmark = [pytest.mark.peers("torch"), pytest.mark.usefixtures("one_thread")]


MOVES = {
    "double": lambda torch, model: model.double(),
    "half": lambda torch, model: model.half(),
    "share_memory": lambda torch, model: model.share_memory(),
    "data": lambda torch, model: setattr(model.weight, "data", torch.ones(3, 3)),
    "turned": lambda torch, model: setattr(model.weight, "data", model.weight.data.t()),
    "vector": lambda torch, model: torch.nn.utils.vector_to_parameters(
        torch.ones(9), model.parameters()
    ),
}


@pytest.mark.parametrize("move", MOVES)
def test_other_memory_than_when_it_was_made_is_refused(
    move, torch, unchanged, numpy_engine
):
    model = torch.nn.Linear(3, 3, bias=False)
    optimizer = gdopt.Adam(dict(model.named_parameters()), ema=0.5)
    model.weight.grad = torch.ones(3, 3)
    optimizer.step()
    MOVES[move](torch, model)
    message = "the parameter 'weight' has other memory than when the optimizer was made"
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match=message):
        optimizer.step([torch.ones(3, 3)])
    with (
        unchanged(optimizer),
        pytest.raises(gdopt.ArgumentError, match=message),
        optimizer.averaged(),
    ):
        pytest.fail("the block must not be entered")


def test_memory_that_is_filled_in_place_is_kept(torch, numpy_engine):
    model = torch.nn.Linear(2, 1, bias=False)
    optimizer = gdopt.SGD(list(model.parameters()), 1.0)
    model.load_state_dict({"weight": torch.full((1, 2), 5.0)})
    model.weight.grad = torch.ones(1, 2)
    optimizer.step()
    assert model.weight.tolist() == [[4.0, 4.0]]


def test_a_storage_is_not_resized_while_an_optimizer_views_it(torch, numpy_engine):
    p = parameter(torch, [1.0])
    optimizer = gdopt.SGD([p])
    with pytest.raises(RuntimeError, match="not resizable"):
        p.data.resize_(100)
    assert optimizer.params["0"].tolist() == [1.0]


def test_a_gradient_that_is_the_parameter_s_memory_is_refused(
    torch, unchanged, numpy_engine
):
    params = [parameter(torch, [1.0, 2.0]) for _ in range(3)]
    optimizer = gdopt.Adam(params)
    for p, grad in zip(params, [torch.ones(2)] * 2 + [params[1].detach()], strict=True):
        p.grad = grad
    message = r"of params\[2\] must not share memory with the parameter params\[1\]"
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match=message):
        optimizer.step()


@pytest.mark.parametrize("own", ["torch", "numpy"])
def test_aliases_among_many_gradients_are_found_by_one_search(
    own, torch, monkeypatch, numpy_engine
):
    params = [parameter(torch, [1.0], [1.0]) for _ in range(300)]
    grads = [p.grad for p in params]
    if own == "numpy":
        params = [np.ones(1, np.float32) for _ in range(300)]
    optimizer = gdopt.SGD(params)
    calls = []
    original = checks.byte_bounds

    def counted(backend, array):
        calls.append(array)
        return original(backend, array)

    monkeypatch.setattr(checks, "byte_bounds", counted)
    optimizer.step(grads)
    assert len(calls) <= 10  # by chance, where arrays are neighbours; not 90,000


def test_no_gradient_in_any_parameter_is_refused(torch, unchanged, numpy_engine):
    optimizer = gdopt.Adam([parameter(torch, [1.0]), parameter(torch, [1.0])])
    message = r"no parameter has a gradient: call loss.backward\(\) before opt.step\(\)"
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match=message):
        optimizer.step()


@pytest.mark.parametrize("mixed", [False, True])
def test_a_step_without_gradients_is_for_torch_s_parameters_alone(
    mixed, torch, unchanged, numpy_engine
):
    params = [np.ones(1, np.float32)]
    params += [parameter(torch, [1.0], [1.0])] if mixed else []
    optimizer = gdopt.SGD(params, 1.0)
    message = "step needs grads: only torch's parameters carry their own"
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentTypeError, match=message):
        optimizer.step()
    optimizer.step([torch.ones(1)] * len(params))
    assert [p.item() for p in params] == [0.0] * len(params)


WRONG = {
    "dtype": (gdopt.ArgumentTypeError, {"dtype": "float64"}, "float32, got float64"),
    "shape": (gdopt.ArgumentError, {"shape": 3}, r"shape \(2,\), got \(3,\)"),
    "device": (gdopt.BackendError, {"device": "meta"}, "on cpu, got a .* on meta"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_gradient_that_does_not_fit_is_refused_by_name(
    case, torch, unchanged, numpy_engine
):
    error, options, message = WRONG[case]
    dtype = getattr(torch, options.get("dtype", "float32"))
    shape, device = options.get("shape", 2), options.get("device", "cpu")
    p, q = parameter(torch, [1.0, 2.0], [1.0, 2.0]), parameter(torch, [1.0, 2.0])
    optimizer = gdopt.Adam({"p": p, "q": q})
    wrong = torch.ones(shape, dtype=dtype, device=device)
    with (
        unchanged(optimizer),
        pytest.raises(error, match="the gradient of 'q' must .*" + message),
    ):
        optimizer.step([p.grad, wrong])


def test_a_sparse_gradient_is_answered_with_the_line_to_write(
    torch, unchanged, numpy_engine
):
    table = torch.nn.Embedding(4, 2, sparse=True)
    optimizer = gdopt.Adam(dict(table.named_parameters()))
    table(torch.tensor([1, 1])).sum().backward()
    line = r"g = p.grad.coalesce\(\); opt.step\(g.values\(\), at=g.indices\(\)\[0\]\)"
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentTypeError, match=line):
        optimizer.step()


def test_tied_weights_count_once(torch, numpy_engine):
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    second.weight = first.weight
    model = torch.nn.Sequential(first, second)
    assert len(gdopt.SGD(list(model.parameters())).params) == 3
    twice = dict(model.named_parameters(remove_duplicate=False))
    message = "'0.weight' and '1.weight' overlap: tied parameters are given once"
    with pytest.raises(gdopt.ArgumentError, match=message):
        gdopt.SGD(twice)


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("kind", ["float8_e4m3fn", "complex32", "int32"])
def test_other_dtypes_are_refused(kind, torch):
    tensor = torch.ones(2).to(getattr(torch, kind))
    with pytest.raises(gdopt.ArgumentTypeError, match=r"params\[0\]"):
        gdopt.SGD([tensor])


def test_an_expanded_parameter_is_refused(torch):
    p = torch.nn.Parameter(torch.ones(1).expand(3))
    with pytest.raises(gdopt.ArgumentError, match=r"elements of params\[0\] do"):
        gdopt.SGD([p])


@pytest.mark.parametrize("make", [copy.deepcopy, pickle.dumps])
def test_a_copy_is_refused_as_the_tensors_are_the_model_s(make, torch, numpy_engine):
    (model, *data), (other, *_) = make_model(torch), make_model(torch)
    optimizer = gdopt.Adam(list(model.parameters()))
    descend(optimizer, model, *data, steps=3)
    with pytest.raises(gdopt.ArgumentTypeError, match=r"load opt.state_dict\(\)"):
        make(optimizer)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    resumed = gdopt.Adam(list(other.parameters()))
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for one, own in ((optimizer, model), (resumed, other)):
        descend(one, own, *data, steps=3)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)


FOREIGN = {
    "zero_grad": "gradients are passed to step: there is nothing to zero",
    "param_groups": r"did you mean lr\? opt.lr = {'\*bias': 0.2, ",
    "add_param_group": "make an optimizer of its own",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_names_of_torch_s_optimizers_are_answered_with_the_line_to_write(
    name, torch, numpy_engine
):
    optimizer = gdopt.SGD(np.ones(1))
    with pytest.raises(AttributeError, match=FOREIGN[name]):
        getattr(optimizer, name)
    theirs = gdopt.SGD([parameter(torch, [1.0])])
    assert hasattr(theirs, name) is (name == "zero_grad")


def test_a_generator_and_a_model_are_answered_with_the_line_to_write(torch):
    model = torch.nn.Linear(2, 2)
    line = r"write list\(model.parameters\(\)\) or dict\(model.named_parameters\(\)\)"
    for wrong, kind in ((model.parameters(), "a generator"), (model, "a Linear")):
        with pytest.raises(gdopt.ArgumentTypeError, match=f"got {kind}: {line}"):
            gdopt.SGD(wrong)


def test_a_parameter_that_was_replaced_in_its_container_is_refused(
    torch, unchanged, numpy_engine
):
    params = {"layers": [parameter(torch, [1.0], [1.0])], "b": parameter(torch, [1.0])}
    optimizer = gdopt.SGD(params, frozen="b")
    assert optimizer.step()
    params["layers"][0] = parameter(torch, [1.0], [1.0])
    message = r"params\['layers'\]\[0\] is another array than when the optimizer was"
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match=message):
        optimizer.step()
