"""All that is public, called rightly and wrongly: a refusal changes nothing.

The calls are made from the public names: a new name without one fails here.
"""

import contextlib
import inspect
import io
import itertools
import re
import warnings
from pathlib import Path

import pytest
from hypothesis_profiles import cases, given, strategies
from public_calls import function_calls, run_folder
from public_methods import method_calls
from wrong_values import WRONG, freeze

import gdopt

CALLS = {}
for made, _ in (function_calls(), method_calls()):
    CALLS |= made
# Arguments that ask for work or memory, which infinity would take forever.
WORK = {"epochs", "max_iter", "trials", "repeats", "jobs", "directions", "ns_steps"}
WORK |= {"noise_examples", "size", "count", "classes", "fan_in", "fan_out", "steps"}
WORK |= {"sizes", "best", "max_seconds", "noise_after", "most", "step"}
# What else messages call an argument: another one that it does not fit, or its parts.
ALIASES = {
    "bounds": "lower|upper",
    "checkpoint": "holds a run",
    "cuda_graph": "graph",
    "data": "path|step|batches|array",
    "dev": "x must|labels",
    "exclude": "feature",
    "columns": "feature",
    "evaluate": "NetworkStep",
    "function": "a rule|a function",
    "gradient": "NetworkStep",
    "initial": "state",
    "initial_accumulator": "beta",
    "logits": "labels",
    "lr": "p must",
    "margin": "memory",
    "name": "backend",
    "params": r"'[\w.]+'|complex_mode|Muon|value must stay|arrays must choose",
    "predictions": "targets",
    "rule": "rule|positional",
    "run": "path",
    "outputs": "labels",
    "space": "scales",
    "squares": "dots",
    "state": "history",
    "trial": "batch_size",
    "value": r"b must|'b'",
    "window": "beta",
    "X": "features",
    "y": "labels|targets|Y|classes",
    "z": "gamma",
    "array": "'b'",
}
# How a message shows the value, or names what of it does not fit.
VALUE = re.compile(r"\b(got|is|are|but|holds?|missing|unknown|needs?)\b|:")
UNKNOWN = "no_such_option"


@pytest.fixture(autouse=True, scope="module")
def own_folder(tmp_path_factory):
    """Work in a folder of its own, on NumPy alone, and draw without a screen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("properties"))
        patch.setenv("GDOPT_CPU_ENGINE", "numpy")
        patch.setenv("MPLBACKEND", "agg")
        run_folder()
        yield
        gdopt.use("auto")


def arguments_of(name):
    """Return the names of all arguments of a call, `*0` for the first of several."""
    function, _, known = CALLS[name]()
    names = [n for n in known if n != "*"]
    names += [f"*{k}" for k in range(len(known.get("*", ())))]
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}:
            names.append(parameter.name)
    return [*dict.fromkeys(names), UNKNOWN]


def invoke(function, known):
    """Call a function, and a generator a few times."""
    known = dict(known)
    listed = [*known.pop("*", ())]
    parameters = inspect.signature(function).parameters.values()
    only = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]
    listed += [known.pop(name) for name in only if name in known]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        found = function(*listed, **known)
        if inspect.isgenerator(found) or hasattr(found, "__next__"):
            found = list(itertools.islice(found, 3))
    return found


def put(known, argument, value):
    """Return arguments of which one is replaced."""
    if argument[0] != "*":
        return {**known, argument: value}
    listed = [*known["*"]]
    listed[int(argument[1:])] = value
    return {**known, "*": listed}


def check_refusal(error, argument):
    """Compare an error with what an error must be and say."""
    text = str(error)
    if argument == UNKNOWN and type(error) is TypeError:  # Python's own
        assert UNKNOWN in text
        return
    if isinstance(error, KeyError) or "unhashable" in text:  # of a mapping
        return
    assert isinstance(error, gdopt.GdoptError), f"{type(error).__name__}: {text}"
    names = (
        rf"{re.escape(argument.lstrip('*').removesuffix('s'))}|{ALIASES.get(argument)}"
    )
    assert argument[0] == "*" or re.search(names, text), text
    assert VALUE.search(text), text


def try_wrong(name, argument, kind):
    """Call with a wrong argument; a refusal must be gdopt's, and change nothing."""
    function, owner, known = CALLS[name]()
    known = put(known, argument, WRONG[kind]())
    before = freeze([owner, known]), freeze(Path())
    try:
        invoke(function, known)
    except Exception as error:  # noqa: BLE001 - which one is what is tested
        check_refusal(error, argument)
        assert (freeze([owner, known]), freeze(Path())) == before


def is_tried(argument, kind):
    return argument not in WORK or kind != "inf"


@strategies.composite
def wrong_calls(draw):
    """Draw a public call, one of its arguments, and a wrong value."""
    name = draw(strategies.sampled_from(sorted(CALLS)))
    argument = draw(strategies.sampled_from(arguments_of(name)))
    kinds = [kind for kind in WRONG if is_tried(argument, kind)]
    return name, argument, draw(strategies.sampled_from(kinds))


def test_every_public_name_has_a_call(monkeypatch):
    for calls in (function_calls, method_calls):
        assert calls()[1] == []
    monkeypatch.setattr(gdopt, "brand_new", lambda needed: needed, raising=False)
    monkeypatch.setattr(gdopt, "__all__", [*gdopt.__all__, "brand_new"])
    assert function_calls()[1] == ["gdopt.brand_new"]


@pytest.mark.parametrize("name", CALLS)
def test_a_right_call_works(name):
    function, _, known = CALLS[name]()
    gpu = name == "gdopt.training.TrainingGraph"
    with pytest.raises(gdopt.BackendError) if gpu else contextlib.nullcontext():
        invoke(function, known)


@cases(2 / 3)
@given(wrong_calls())
def test_a_wrong_argument_is_refused_by_name_and_changes_nothing(call):
    try_wrong(*call)


@pytest.mark.parametrize("name", CALLS)
def test_every_argument_is_checked(name):
    thing, arguments = CALLS[name]()[0], arguments_of(name)
    optimizer = inspect.isclass(thing) and issubclass(thing, gdopt.Optimizer)
    if optimizer and name not in {"gdopt.Adam", "gdopt.Muon", "gdopt.Optimizer"}:
        arguments = {*arguments} - {*arguments_of("gdopt.Adam")}  # are those of all
    for argument in arguments:
        for kind in ("object", "nested", "class"):
            if is_tried(argument, kind):
                try_wrong(name, argument, kind)
