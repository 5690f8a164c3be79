"use strict";
// Draws the map of a problem with the paths, and the curves of the losses, as SVG.

const MARGIN = { left: 52, right: 12, top: 8, bottom: 40 };
const DIGITS = { "-": "⁻", ...Object.fromEntries([..."⁰¹²³⁴⁵⁶⁷⁸⁹"].map((digit, k) => [k, digit])) };
const GRID = 120; // cells of the map along each axis
const LEVELS = 14;
const FAR = 1e4; // pixels; what lies beyond is drawn there

const power = (exponent) => `10${[...String(exponent)].map((c) => DIGITS[c]).join("")}`;
const within = (x, low, high) => Math.min(Math.max(x, low), high);

// A number as people write it: powers of ten in place of e-07.
function shown(value, digits = 3) {
  if (!Number.isFinite(value)) return "not finite";
  if (value < 0) return `−${shown(-value, digits)}`;
  if (value === 0) return "0";
  const exponent = Math.floor(Math.log10(value));
  if (exponent >= -3 && exponent < 5) return String(Number(value.toPrecision(digits)));
  const [mantissa, own] = value.toExponential(digits - 1).split("e");
  return Number(mantissa) === 1
    ? power(Number(own))
    : `${Number(mantissa)} × ${power(Number(own))}`;
}

function element(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Numbers 1, 2 or 5 times a power of ten apart, at most about as many as wanted.
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * unit).find((size) => size >= rough);
  const count = Math.floor(high / step) - Math.ceil(low / step) + 1;
  return Array.from({ length: count }, (_, k) => (Math.ceil(low / step) + k) * step);
}

// A plot that fills its SVG: places of values in pixels, axes, and a group for what is inside.
function frame(svg, [left, right], [low, high], labels) {
  const width = svg.clientWidth;
  const height = svg.clientHeight;
  const inner = {
    width: width - MARGIN.left - MARGIN.right,
    height: height - MARGIN.top - MARGIN.bottom,
  };
  const x = (value) =>
    within(MARGIN.left + (inner.width * (value - left)) / (right - left), -FAR, FAR);
  const y = (value) =>
    within(MARGIN.top + (inner.height * (high - value)) / (high - low), -FAR, FAR);
  const box = { x: MARGIN.left, y: MARGIN.top, ...inner };
  const clip = `${svg.classList[0]}-clip`;
  const inside = element("g", { "clip-path": `url(#${clip})` });
  const axes = element("g", { class: "explorer-axes" });
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(
    element("clipPath", { id: clip }, element("rect", box)),
    axes,
    inside,
    element("rect", { ...box, class: "explorer-box" }),
  );
  const write = (text, at) => axes.append(element("text", at, text));
  for (const value of labels.x.ticks)
    write(shown(value), { x: x(value), y: height - 24, "text-anchor": "middle" });
  for (const value of labels.y.ticks) {
    write(labels.y.text(value), { x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" });
    if (labels.lines) axes.append(element("path", { d: `M${x(left)} ${y(value)}H${x(right)}` }));
  }
  write(labels.x.name, {
    x: MARGIN.left + inner.width / 2,
    y: height - 6,
    "text-anchor": "middle",
  });
  const turn = `rotate(-90 12 ${MARGIN.top + inner.height / 2})`;
  write(labels.y.name, {
    x: 12,
    y: MARGIN.top + inner.height / 2,
    "text-anchor": "middle",
    transform: turn,
  });
  return { x, y, inside };
}

// Heights at the corners of the cells, even where levels are: in their root, or in their
// logarithm where the map is high.
function heights(problem) {
  const [[left, right], [low, high]] = problem.box;
  const corners = Array.from({ length: GRID + 1 }, (_, k) => k / GRID);
  const raw = corners.map((v) =>
    corners.map(
      (u) =>
        problem.value(GDOPT.rounding.float64, left + u * (right - left), low + v * (high - low))[0],
    ),
  );
  const least = Math.min(problem.least ?? Infinity, ...raw.flat());
  const byDecades = Math.max(...raw.flat()) - least > 100;
  return raw.map((row) =>
    row.map((value) => (byDecades ? Math.log10(value - least + 1e-2) : Math.sqrt(value - least))),
  );
}

// Where the line of a level crosses a cell: pairs of points on its edges, by linear
// interpolation. A saddle within a cell gives two pairs.
function crossings(corners, level) {
  const found = [];
  for (let k = 0; k < 4; k += 1) {
    const [a, b] = [corners[k], corners[(k + 1) % 4]];
    if (a[2] < level !== b[2] < level) {
      const share = (level - a[2]) / (b[2] - a[2]);
      found.push([a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])]);
    }
  }
  return found;
}

// The lines of one level, in cells from the map's lower left corner.
function contour(field, level) {
  const parts = [];
  for (let j = 0; j < GRID; j += 1) {
    for (let i = 0; i < GRID; i += 1) {
      const corners = [
        [i, j],
        [i + 1, j],
        [i + 1, j + 1],
        [i, j + 1],
      ].map(([u, v]) => [u, v, field[v][u]]);
      const points = crossings(corners, level).map((point) =>
        point.map((u) => u.toFixed(2)).join(" "),
      );
      for (let k = 0; k + 1 < points.length; k += 2) parts.push(`M${points[k]}L${points[k + 1]}`);
    }
  }
  return parts.join("");
}

// The lines of all levels of a problem, which are computed once.
const LINES = new Map();
function contours(problem) {
  if (!LINES.has(problem)) {
    const field = heights(problem);
    const [low, high] = [Math.min(...field.flat()), Math.max(...field.flat())];
    const levels = Array.from(
      { length: LEVELS },
      (_, k) => low + ((k + 0.5) * (high - low)) / LEVELS,
    );
    LINES.set(
      problem,
      levels.map((level) => contour(field, level)),
    );
  }
  return LINES.get(problem);
}

// A mark of one of three shapes, so that colour does not tell runs apart alone.
function mark(shape, x, y, r = 5) {
  const d = [
    `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`,
    `M${x} ${y - 1.3 * r}l${1.3 * r} ${2.3 * r}h${-2.6 * r}z`,
    `M${x} ${y - 1.4 * r}l${1.4 * r} ${1.4 * r}l${-1.4 * r} ${1.4 * r}l${-1.4 * r} ${-1.4 * r}z`,
  ][shape];
  return element("path", { d, class: "explorer-mark" });
}

const line = (points) => `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;

// A run's line with a mark at its end; on the map with a dot for every step.
function trace(run, points, dots) {
  const group = element("g", { class: `explorer-run explorer-run-${run.place}` });
  group.append(element("path", { d: line(points), class: "explorer-line" }));
  if (dots)
    group.append(
      element("path", {
        d: points.map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join(""),
        class: "explorer-dots",
      }),
    );
  group.append(mark(run.place, ...points.at(-1)));
  return group;
}

// Draw the map; return what gives the point that a place in pixels shows.
function drawMap(svg, problem, start, runs, steps) {
  const [[left, right], [low, high]] = problem.box;
  const labels = {
    x: { name: "x", ticks: ticks(left, right, 6) },
    y: { name: "y", ticks: ticks(low, high, 6), text: shown },
  };
  const { x, y, inside } = frame(svg, problem.box[0], problem.box[1], labels);
  const scale = `translate(${x(left)} ${y(low)}) scale(${(x(right) - x(left)) / GRID} ${(y(high) - y(low)) / GRID})`;
  const lines = element("g", { class: "explorer-contours", transform: scale });
  for (const d of contours(problem)) lines.append(element("path", { d }));
  inside.append(lines);
  for (const run of runs)
    inside.append(
      trace(
        run,
        run.points.slice(0, steps + 1).map(([u, v]) => [x(u), y(v)]),
        true,
      ),
    );
  for (const [u, v] of problem.minima)
    inside.append(
      element("path", {
        class: "explorer-minimum",
        d: `M${x(u) - 5} ${y(v) - 5}l10 10m0 -10l-10 10`,
      }),
    );
  inside.append(
    element("rect", {
      class: "explorer-start",
      x: x(start[0]) - 5,
      y: y(start[1]) - 5,
      width: 10,
      height: 10,
    }),
  );
  svg.setAttribute(
    "aria-label",
    `Level lines of ${problem.title} with the paths of ${runs.map((run) => run.name).join(", ")}`,
  );
  return (px, py) => [
    left + ((px - x(left)) * (right - left)) / (x(right) - x(left)),
    low + ((py - y(low)) * (high - low)) / (y(high) - y(low)),
  ];
}

// Draw the losses above the minimum in powers of ten, or as they are where there is none.
function drawCurves(svg, problem, runs, steps) {
  const isLog = problem.least !== null;
  const values = runs.map((run) =>
    run.losses.map((loss) => (isLog ? Math.log10(Math.max(loss - problem.least, 1e-16)) : loss)),
  );
  const first = values[0]?.[0] ?? 0;
  const [bottom, top] = isLog ? [-16, first + 3] : [first - 12, first + 3];
  const all = values.flat().map((value) => within(value, bottom, top));
  const range = [Math.min(...all, first - 1), Math.max(...all, first + 0.5)];
  const marks = isLog
    ? ticks(range[0], range[1], 7).filter(Number.isInteger)
    : ticks(range[0], range[1], 7);
  const labels = {
    lines: true,
    x: { name: "step", ticks: ticks(0, GDOPT.steps, 5) },
    y: { name: isLog ? "f(p) − f*" : "f(p)", ticks: marks, text: isLog ? power : shown },
  };
  const { x, y, inside } = frame(svg, [0, GDOPT.steps], range, labels);
  runs.forEach((run, k) =>
    inside.append(
      trace(
        run,
        values[k].slice(0, steps + 1).map((value, step) => [x(step), y(value)]),
        false,
      ),
    ),
  );
  svg.setAttribute(
    "aria-label",
    `Loss of each step: ${runs.map((run) => `${run.name} ends at ${shown(run.losses.at(-1))}`).join(", ")}`,
  );
}
