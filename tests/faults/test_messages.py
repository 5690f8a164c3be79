"""Messages name the argument as the caller wrote it, say what helps, and are short."""

import re

import numpy as np
import pytest

import gdopt
from gdopt.checks import listed, shown
from gdopt.optim.options import DecayOptions

MANY = {f"W{k}": np.zeros(3) for k in range(300)}
GRADS = {name: np.full(3, np.nan) for name in MANY}


def message_of(function, *arguments, **options):
    with pytest.raises(gdopt.GdoptError) as caught:
        function(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("params", "name"),
    [
        (np.zeros(3), "params"),
        ([np.zeros(2), np.zeros(3)], "params[1]"),
        (gdopt.Arena.of([np.zeros(2), np.zeros(3)]), "params[1]"),
        ({"W": np.zeros(3)}, "'W'"),
    ],
)
def test_a_parameter_without_a_name_is_named_by_its_place(params, name):
    optimizer = gdopt.SGD(params)
    arrays = [np.ones(array.shape) for array in optimizer.params.values()]
    arrays[-1] = np.ones(4)
    assert message_of(optimizer.step, arrays).startswith(f"the gradient of {name} must")
    arrays[-1] = np.array([1, np.nan, 1])
    raising = gdopt.SGD(params, non_finite="raise")
    assert message_of(raising.step, arrays).endswith(f"the gradients of {name}")
    for options in ({"master_weights": True}, {"state_dtype": "bfloat16"}):
        first = name.replace("1", "0")
        assert f"but {first} is float64" in message_of(gdopt.SGD, params, **options)
    assert optimizer.state_dict()["state"].keys() == optimizer.params.keys()


def test_an_unknown_keyword_is_answered_with_all_that_there_are():
    message = message_of(gdopt.Adam, np.zeros(3), clip=1)
    assert message == (
        "Adam got an unknown keyword 'clip'; did you mean clip_norm? Adam takes lr, "
        "beta1, beta2, eps, eps_mode, bias_correction, amsgrad, amsgrad_form, nesterov "
        f"and the options of gdopt.Optimizer: {listed(DecayOptions.__annotations__)}"
    )
    message = message_of(gdopt.Optimizer, np.zeros(3), rule=lambda p, g: p - g, LR=1)
    assert (
        "'LR'. Optimizer takes the options of gdopt.Optimizer: frozen, non_f" in message
    )


def test_a_keyword_of_a_user_s_class_is_suggested_too():
    class Paced(gdopt.SGD):
        def __init__(self, params, *, pace=1.0, **options):
            super().__init__(params, lr=1e-3 * pace, **options)

    message = message_of(Paced, np.zeros(3), pce=2.0)
    assert "did you mean pace? Paced takes pace, lr and the options of" in message


def test_a_forgotten_star_is_named():
    def descent(p, g, lr):
        return p - lr * g

    def momentum(p, v, g, lr, beta):
        v = beta * v + g
        return p - lr * v, v

    def stateful(p, g, lr):
        return p - lr * g, g

    line = "put hyper-parameters after a *: def "
    for rule, fixed in (
        (descent, "descent(p, g, *, lr)"),
        (momentum, "momentum(p, v, g, *, lr, beta)"),
        (stateful, "stateful(p, g, *, lr)"),
    ):
        message = message_of(gdopt.Optimizer, np.zeros(3), rule=rule, lr=0.1)
        assert message.endswith(line + fixed)
    message = message_of(gdopt.Kernel(descent), np.zeros(3), np.zeros(3), lr=0.1)
    assert message.endswith("got 2; put scalars after a *: (p, g, *, lr)")


def test_a_result_that_is_missing_is_not_taken_for_a_forgotten_star():
    def momentum(p, v, g, *, lr, beta):
        return p - lr * (beta * v + g)

    message = message_of(gdopt.Optimizer, np.zeros(3), rule=momentum, lr=0.1, beta=0.9)
    assert message.endswith("must return 2 values (p, v), got 1")


@pytest.mark.parametrize("output", ["softmax", "linear"])
def test_float64_data_for_a_float32_network_are_answered_with_both_lines(output):
    network = gdopt.nn.Network((2, 2), output=output, backend="numpy")
    x, y = np.zeros((3, 2)), np.zeros((3, 2) if output == "linear" else 3, int)
    help_for = "must be float32, as the weights are, got float64: convert it with "
    both = ".astype(np.float32), or make the network with dtype=np.float64"
    assert message_of(network.loss_and_grads, x, y) == f"x {help_for}{both}"
    if output == "linear":
        x = x.astype(np.float32)
        message = message_of(network.loss_and_grads, x, y.astype(float))
        assert message == f"targets {help_for}{both}"
        message = message_of(network.loss_and_grads, x, y)
        assert message.endswith("got int64: convert it with .astype(np.float32)")


def test_a_message_shows_ten_items_at_most():
    many = gdopt.SGD(MANY, non_finite="raise")
    saved = gdopt.SGD({f"V{k}": np.zeros(3) for k in range(300)}).state_dict()
    network = gdopt.nn.Network((2, 2), backend="numpy")
    messages = [
        message_of(many.step, GRADS),
        message_of(many.step, {"b": np.zeros(3)}),
        message_of(many.load_state_dict, saved),
        message_of(many.hyper.__setitem__, "lr", {"b": 1.0}),
        message_of(gdopt.SGD, MANY, clip_norm=dict.fromkeys(MANY, 1.0)),
        message_of(gdopt.SGD, MANY, lr=list(range(300))),
        message_of(gdopt.SGD, MANY, seed=list(range(300))),
        message_of(gdopt.Arena.of(MANY).__setitem__, "b", np.zeros(3)),
        message_of(gdopt.nn.Network, [2] * 300 + [1], output="softmax"),
        message_of(network.load_state_dict, {f"key{k}": 0 for k in range(300)}),
        message_of(gdopt.tune.choice, [*range(300), 0]),
        message_of(gdopt.split, np.zeros(300), dev=np.arange(300.0)),
        message_of(gdopt.schedules.piecewise, [0.1] * 301, [2] * 300),
        message_of(gdopt.plots.averages, np.zeros(9), [0.9] * 300, "a.png"),
    ]
    for message in messages:
        assert len(re.split(r",|\s\d\.", message)) <= 22, message
        assert len(message) < 700, message


def test_lists_and_values_are_cut_after_the_tenth():
    assert listed("abc") == "a, b, c"
    assert listed(range(11)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 1 more"
    assert shown((1, 2)) == "(1, 2)"
    assert shown(dict.fromkeys(range(11))).endswith("9: None, ...}")
    assert len(shown(np.zeros((50, 50)))) <= 200
