"use strict";
// The page: controls, and what is computed and drawn again when one of them changes.

const FIRST = { problem: "turned_bowl", rules: ["momentum", "rmsprop", "adam"] };
const OFF = "none"; // in place of a rule
const BETAS = /^(beta\d?|rho|momentum)$/;

const form = document.querySelector("form.explorer");
const field = form.elements;
const part = (name) => form.querySelector(`.explorer-${name}`);
const runs = FIRST.rules.map((name, place) => ({ name, place, setting: {} }));
let pointAt = null; // of a place on the map

function html(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// How a slider stands for a value: rates and epsilons by their power of ten, shares by
// that of their distance from 1.
const LOG = { from: (value) => Math.log10(value), to: (at) => Number((10 ** at).toPrecision(2)) };
const SHARE = {
  from: (value) => -Math.log10(1 - value),
  to: (at) => Number((1 - 10 ** -at).toPrecision(4)),
};
const SLIDERS = { lr: { ...LOG, min: -5, max: 1 }, eps: { ...LOG, min: -16, max: 0 } };
const sliderOf = (name) => (BETAS.test(name) ? { ...SHARE, min: 0, max: 4 } : SLIDERS[name]);

const problem = () => GDOPT.problems[field.problem.value];
const noise = () => Number(field.noise.value) / 10;

function settingsOfAll() {
  return {
    start: [Number(field.x.value), Number(field.y.value)],
    steps: GDOPT.steps,
    f: GDOPT.rounding[field.dtype.value],
    factors: GDOPT.schedules[field.schedule.value],
    noise: noise(),
  };
}

// Compute and draw everything again.
function update() {
  const steps = Number(field.steps.value);
  const all = settingsOfAll();
  const shownRuns = runs.filter((run) => run.name !== OFF);
  for (const run of shownRuns)
    Object.assign(run, descend(problem(), GDOPT.rules[run.name], run.setting, all));
  field.noise.previousElementSibling.textContent = shown(noise());
  field.steps.previousElementSibling.textContent = steps;
  pointAt = drawMap(part("map"), problem(), all.start, shownRuns, steps);
  drawCurves(part("curves"), problem(), shownRuns, steps);
  part("height").textContent =
    problem().least === null ? "Loss of each step" : "Loss of each step, above that of the minimum";
  part("ends").tBodies[0].replaceChildren(...shownRuns.map((run) => endRow(run, steps)));
  form.dataset.updates = Number(form.dataset.updates ?? 0) + 1;
}

// A row of the table: where a run is after the steps shown, and in its data to all digits.
function endRow(run, steps) {
  const last = Math.min(steps, run.points.length - 1);
  const [x, y] = run.points[last];
  const distances = problem().minima.map(([u, v]) => Math.hypot(x - u, y - v));
  const distance = distances.length ? shown(Math.min(...distances)) : "no minimum";
  const values = [
    shown(run.setting.lr),
    shown(x),
    shown(y),
    shown(run.losses[last]),
    last < steps ? "diverged" : distance,
  ];
  const row = html(
    "tr",
    {},
    html("th", { scope: "row" }, swatch(run), ` ${run.name}`),
    ...values.map((text) => html("td", {}, text)),
  );
  Object.assign(row.dataset, {
    rule: run.name,
    lr: run.setting.lr,
    x,
    y,
    first: run.losses[0],
    loss: run.losses[last],
    steps: last,
  });
  return row;
}

function swatch(run) {
  const group = element(
    "g",
    { class: `explorer-run explorer-run-${run.place}` },
    element("path", { d: "M0 8H34", class: "explorer-line" }),
    mark(run.place, 17, 8, 4),
  );
  return element(
    "svg",
    { viewBox: "0 0 34 16", width: 34, height: 16, "aria-hidden": "true" },
    group,
  );
}

// A control of one scalar of a run: a slider, or a field for what has no scale.
function control(run, name) {
  const scale = sliderOf(name);
  const text = html("span", {}, shown(run.setting[name], 4));
  const kind = scale
    ? { type: "range", min: scale.min, max: scale.max, step: "any" }
    : { type: "number", step: "any" };
  const input = html("input", { ...kind, name: `${name}-${run.place}` });
  input.value = scale ? scale.from(run.setting[name]) : run.setting[name];
  input.setAttribute("aria-valuetext", text.textContent);
  input.addEventListener("input", () => {
    const value = scale ? scale.to(input.valueAsNumber) : input.valueAsNumber;
    if (!Number.isFinite(value)) return; // a number is being typed
    run.setting[name] = value;
    text.textContent = shown(value, 4);
    input.setAttribute("aria-valuetext", text.textContent);
    update();
  });
  return html(
    "label",
    {},
    `${name === "lr" ? "rate, lr" : name} `,
    ...(scale ? [text] : []),
    input,
  );
}

// Options of all rules, under the names of their classes.
function ruleOptions(chosen) {
  const groups = new Map([["", [html("option", { selected: chosen === OFF }, OFF)]]]);
  for (const [name, { kind }] of Object.entries(GDOPT.rules)) {
    if (!groups.has(kind)) groups.set(kind, []);
    groups.get(kind).push(html("option", { selected: name === chosen }, name));
  }
  return [...groups].flatMap(([kind, options]) =>
    kind ? html("optgroup", { label: kind }, ...options) : options,
  );
}

function begin(run) {
  const rule = GDOPT.rules[run.name];
  if (!rule) return;
  run.setting = Object.fromEntries(
    Object.entries(rule.scalars).map(([name, { start }]) => [name, start]),
  );
  takeBestRate(run);
}

function takeBestRate(run) {
  run.setting.lr = bestRate(problem(), GDOPT.rules[run.name], run.setting, settingsOfAll());
}

// The controls of a run; with another rule they are others.
function card(run) {
  const select = html("select", { name: `rule-${run.place}` }, ...ruleOptions(run.name));
  const made = html(
    "fieldset",
    { className: `explorer-run-${run.place}` },
    html("legend", {}, swatch(run), ` Rule ${run.place + 1}`),
    html("label", {}, "Rule ", select),
  );
  const renew = () => {
    const fresh = card(run);
    made.replaceWith(fresh);
    update();
    return fresh;
  };
  select.addEventListener("change", () => {
    run.name = select.value;
    begin(run);
    renew().querySelector("select").focus();
  });
  if (run.name === OFF) return made;
  const best = html("button", { type: "button", name: `best-${run.place}` }, "Fastest rate");
  best.addEventListener("click", () => {
    takeBestRate(run);
    renew().querySelector("button").focus();
  });
  const names = Object.keys(GDOPT.rules[run.name].scalars);
  made.append(
    ...names.map((name) => control(run, name)),
    best,
    html("p", {}, GDOPT.rules[run.name].source),
  );
  return made;
}

function setStart([x, y]) {
  [field.x.value, field.y.value] = [x, y];
}

// Begin with a problem: at its start, each rule with its fastest rate.
function chooseProblem() {
  setStart(problem().start);
  runs.forEach(begin);
  part("runs").replaceChildren(...runs.map(card));
  update();
}

function moveStart(event) {
  const { left, top } = event.currentTarget.getBoundingClientRect();
  const place = pointAt(event.clientX - left, event.clientY - top);
  setStart(place.map((value) => Number(value.toPrecision(3))));
  update();
}

for (const [name, { title }] of Object.entries(GDOPT.problems))
  field.problem.append(html("option", { value: name, selected: name === FIRST.problem }, title));
for (const name of Object.keys(GDOPT.schedules)) field.schedule.append(html("option", {}, name));
field.steps.value = field.steps.max = GDOPT.steps;
field.problem.addEventListener("change", chooseProblem);
field.reset.addEventListener("click", () => {
  setStart(problem().start);
  update();
});
for (const name of ["schedule", "noise", "steps", "dtype", "x", "y"])
  field[name].addEventListener("input", update);
part("map").addEventListener("pointerdown", moveStart);
part("map").addEventListener("pointermove", (event) => {
  if (event.buttons) moveStart(event);
});
form.addEventListener("submit", (event) => event.preventDefault());
new ResizeObserver(update).observe(part("plots"));
chooseProblem();
