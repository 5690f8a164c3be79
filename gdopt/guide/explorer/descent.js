"use strict";
// Runs the library's rules on its problems, as rules.js holds them. No part of the page.

const RATES = [-5, -4, -3, -2, -1, 0].flatMap((k) => [1, 2, 5].map((d) => Number(`${d}e${k}`)));

// The points and losses before the first step and after each, until one is not finite.
// What a run needs: start, steps, f (GDOPT.rounding), factors (a schedule's), noise (its
// deviation); and, to compare bits, hosts (hoisted values of each step in float64).
function descend(problem, rule, setting, run) {
  const { f } = run;
  let point = run.start.map(f);
  const states = point.map((p) => rule.states.map((begin) => (begin === "p" ? p : f(begin))));
  const points = [point];
  const losses = [problem.value(f, ...point)[0]];
  for (let k = 0; k < run.steps; k += 1) {
    const lr = setting.lr * run.factors[k];
    const hoisted = run.hosts ? run.hosts[k] : rule.host({ ...setting, lr, t: k + 1 });
    const s = hoisted.map(f);
    const slope = problem.slope(f, ...point);
    point = point.map((p, axis) => {
      const g = f(slope[axis] + f(f(run.noise) * f(GDOPT.noise[k][axis])));
      const [changed, ...state] = rule.step(f, s, p, ...states[axis], g);
      states[axis] = state;
      return changed;
    });
    const loss = problem.value(f, ...point)[0];
    if (![...point, loss].every(Number.isFinite)) break;
    points.push(point);
    losses.push(loss);
  }
  return { points, losses, diverged: points.length <= run.steps };
}

// Whether a path can be followed: no step but the first leaps over half of the map, as
// FTRL forgets where it starts.
function isSmooth(problem, points) {
  const half = problem.box.map(([low, high]) => (high - low) / 2);
  return points
    .slice(2)
    .every((point, k) =>
      point.every(
        (p, axis) => Math.abs(p - points[k + 1][axis]) < half[axis] || Math.abs(p) > 2 * half[axis],
      ),
    );
}

// How high a descent is on average, in powers of ten above the minimum, down to -9.
function meanHeight(problem, losses) {
  const heights = losses.map((loss) => Math.log10(Math.max(loss - problem.least, 0) + 1e-9));
  return heights.reduce((sum, height) => sum + height) / losses.length;
}

// The rate of RATES that descends fastest, of those whose path is smooth. Without a
// minimum, the least one that leaves the map.
function bestRate(problem, rule, setting, run) {
  const tried = RATES.map((lr) => ({
    lr,
    ...descend(problem, rule, { ...setting, lr }, run),
  })).filter(({ points, diverged }) => !diverged && isSmooth(problem, points));
  const leaves = ({ losses }) => losses.at(-1) < losses[0] - 10;
  const ranked =
    problem.least === null
      ? tried.filter(leaves)
      : tried.toSorted((a, b) => meanHeight(problem, a.losses) - meanHeight(problem, b.losses));
  return ranked[0]?.lr ?? setting.lr;
}
