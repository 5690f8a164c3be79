"""Each script is run once, into a folder of its own; figures and numbers are kept."""

import functools
from types import SimpleNamespace

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark as slow what runs a script of pictures, whichever test is the first to."""
    for item in items:
        if "run_script" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _numpy_alone(numpy_engine):
    """Compile no loops, as both engines have the same bits."""


@pytest.fixture(scope="session")
def run_script(tmp_path_factory):
    """Return ``run_script(module)``: the folder, figures and numbers of its main()."""
    matplotlib = pytest.importorskip("matplotlib")
    canvas = pytest.importorskip("gdopt.guide.pictures.canvas")

    @functools.cache
    def run(script):
        folder = tmp_path_factory.mktemp("guide") / "new" / "pictures"
        drawn = SimpleNamespace(folder=folder, figures={}, numbers={})

        def save(figure, path):
            canvas.save(figure, path)
            drawn.figures[path.name] = figure

        def keep(name, compute):
            def kept():
                drawn.numbers[name] = compute()
                return drawn.numbers[name]

            return kept

        with pytest.MonkeyPatch.context() as patch, matplotlib.rc_context():
            patch.setenv("GDOPT_CPU_ENGINE", "numpy")
            patch.setattr(script, "save", save, raising=False)  # the film has none
            for name, thing in list(vars(script).items()):
                if name.startswith("compute_") and thing.__module__ == script.__name__:
                    short = name.removeprefix("compute_")
                    patch.setattr(script, name, keep(short, thing))
            script.main([str(folder)])
        return drawn

    return run
