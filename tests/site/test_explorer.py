"""The explorer's page: rules descend in the browser, to where NumPy gets."""

import numpy as np
import pytest

import gdopt
from gdopt.guide.hooks import explorer

ROWS = "[...document.querySelectorAll('.explorer-ends tbody tr')]"
SHOWN = f"{ROWS}.map(row => ({{...row.dataset}}))"
CHOOSE = """
const set = (name, value, kind) => {
  const input = document.querySelector('form.explorer').elements[name];
  input.value = value;
  input.dispatchEvent(new Event(kind, {bubbles: true}));
};
"""
CHANGED_RULES = f"""
return arguments[0].map(([problem, rule]) => {{
  set('problem', problem, 'change');
  set('rule-0', rule, 'change');
  return {SHOWN}[0];
}});
"""


@pytest.fixture
def page(address, browser):
    browser.resize(1280)
    browser.open(f"{address}/explorer.html")
    browser.run(
        f"{CHOOSE} set('rule-1', 'none', 'change'); set('rule-2', 'none', 'change');"
    )
    yield browser
    assert browser.errors() == []
    own = (address, "data:")
    assert [url for url in browser.requests() if not url.startswith(own)] == []


def end_of(rule, problem, *, dtype=np.float64, noise=0.0, schedule="constant", **own):
    """Return where NumPy is after all steps."""
    p = np.array(own.get("start", problem.start), dtype)
    setting = {
        n: own.get(n, explorer.CHOSEN_BY.get(n, rule.defaults[n])) for n in rule.scalars
    }
    setting["lr"] = own["lr"] * explorer.SCHEDULES[schedule]
    optimizer = gdopt.Optimizer(p, rule, **setting)
    for given in explorer.make_noise().astype(dtype):
        optimizer.step(problem.gradient(p) + dtype(noise) * given)
    return p


def point(row):
    return [float(row["x"]), float(row["y"])]


def test_each_rule_descends_to_where_numpy_gets(page, numpy_engine):
    rules, names = explorer.explorer_rules(), list(explorer.PROBLEMS)
    pairs = [(names[k % len(names)], rule) for k, rule in enumerate(rules)]
    pairs += [(name, "adam") for name in names]
    rows = page.run(CHOOSE + CHANGED_RULES, pairs)
    for (name, rule), row in zip(pairs, rows, strict=True):
        problem = explorer.PROBLEMS[name]
        first, loss = float(row["first"]), float(row["loss"])
        assert (row["rule"], row["steps"]) == (rule, str(explorer.STEPS))
        height = 10 if name == "saddle" else first - problem.least
        assert first - loss > 0.6 * height, (name, rule, row)
        expected = end_of(rules[rule], problem, lr=float(row["lr"]))
        assert point(row) == pytest.approx(expected, rel=1e-12, abs=1e-12), (name, rule)


def test_sliders_schedules_noise_and_dtypes_change_the_path(page):
    rule, problem = explorer.explorer_rules()["adam"], explorer.PROBLEMS["himmelblau"]
    schedule = "cosine with warm-up"
    page.run(
        f"""{CHOOSE}
        set('problem', 'himmelblau', 'change'); set('rule-0', 'adam', 'change');
        set('schedule', '{schedule}', 'input'); set('noise', 5, 'input');
        set('dtype', 'float32', 'input'); set('lr-0', -1.3, 'input');
        set('beta2-0', 2, 'input'); set('x', -1, 'input'); set('y', -2, 'input');"""
    )
    [row] = page.run(f"return {SHOWN}")
    assert float(row["lr"]) == 0.05
    own = {"start": (-1.0, -2.0), "noise": 0.5, "schedule": schedule, "beta2": 0.99}
    expected = end_of(rule, problem, dtype=np.float32, lr=0.05, **own)
    assert point(row) == pytest.approx(expected, rel=1e-6)
    page.run(f"{CHOOSE} set('steps', 0, 'input'); set('steps', 7, 'input');")
    [early] = page.run(f"return {SHOWN}")
    assert early["steps"] == "7"
    assert point(early) != point(row)


def test_a_click_on_the_map_starts_there_and_a_button_goes_back(page):
    page.run(f"{CHOOSE} set('problem', 'rosenbrock', 'change');")
    page.run(
        """
        const map = document.querySelector('.explorer-map');
        const box = map.querySelector('.explorer-box').getBoundingClientRect();
        const [clientX, clientY] = [box.x + 0.75 * box.width, box.y + 0.2 * box.height];
        map.dispatchEvent(new PointerEvent('pointerdown', {clientX, clientY}));"""
    )
    fields = "const own = document.querySelector('form.explorer').elements;"
    start = f"{fields} return [own.x.value, own.y.value].map(Number)"
    assert page.run(start) == pytest.approx([0.9, 1.6], abs=0.02)
    page.run("document.querySelector('[name=reset]').click()")
    assert page.run(start) == list(explorer.PROBLEMS["rosenbrock"].start)


def test_three_runs_differ_by_dashes_and_marks_and_keep_their_colours_apart(page):
    page.run(
        f"{CHOOSE} set('rule-1', 'adam', 'change'); set('rule-2', 'sgd', 'change');"
    )
    looks = page.run(
        """const runs = document.querySelectorAll('.explorer-curves .explorer-run');
        return [...runs].map(run => {
          const line = getComputedStyle(run.querySelector('.explorer-line'));
          const mark = run.querySelector('.explorer-mark').getAttribute('d');
          return [line.stroke, line.strokeDasharray, mark.replace(/[-\\d. ]+/g, '')];
        })"""
    )
    assert len(looks) == 3
    for kind in zip(*looks, strict=True):
        assert len(set(kind)) == 3, kind


def test_every_control_has_a_label_and_can_be_reached_by_the_keyboard(page):
    controls = page.run(
        """return [...document.querySelector('form.explorer').elements]
          .filter(control => control.localName != 'fieldset')
          .map(control => [control.name, control.tabIndex,
            (control.type == 'button' ? control : control.labels[0])?.innerText])"""
    )
    assert len(controls) > 10
    assert all(name and at == 0 and text for name, at, text in controls), controls
