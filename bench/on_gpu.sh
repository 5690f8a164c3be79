#!/usr/bin/env bash
# Runs the GPU tests and the GPU benchmark on a CUDA machine, in under eight minutes.
#
#   bench/on_gpu.sh OUTDIR
#
# Needs Python with CuPy, pytest and pytest-benchmark; no network, and nothing is
# installed: the checkout is put on the path. A peer (torch, optax) that is not there is
# left out and named. Writes to OUTDIR: tests.txt, benchmark.json (pytest-benchmark's),
# plan.json (of the batch-size planner), summary.json, summary.txt.
# GDOPT_BENCH_REHEARSE=1 tries everything on a machine without a GPU, on small arrays
# with a stand-in for CuPy: its figures mean nothing.
# GDOPT_BENCH_COMMIT names the commit where the checkout is no repository;
# GDOPT_BENCH_ONLY names what to run, as pytest's -k does.
# Ctrl-C ends all of it, with 130; what is there by then stays.
set -uo pipefail
trap 'exit 130' INT
out=${1:?usage: bench/on_gpu.sh OUTDIR}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.." || exit
export PYTHONPATH="$PWD:$PWD/tests:$PWD/bench/gpu${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
GDOPT_BENCH_COMMIT=${GDOPT_BENCH_COMMIT:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
export GDOPT_BENCH_COMMIT
export XLA_PYTHON_CLIENT_PREALLOCATE=false  # JAX would take most of the memory
python=${PYTHON:-python3}
marked=gpu
if [ -n "${GDOPT_BENCH_REHEARSE:-}" ]; then
  export GDOPT_BENCH_SCALE=${GDOPT_BENCH_SCALE:-100000}
  marked="not gpu"
fi

# Warnings of the libraries that are there are none of ours to mend here.
quiet=(-p no:cacheprovider -W ignore --no-header -q -rf)

# In the foreground: Ctrl-C would not reach a group of its own.
timeout --foreground 180 "$python" -m pytest "${quiet[@]}" -m "$marked" \
  ${GDOPT_BENCH_ONLY:+-k "$GDOPT_BENCH_ONLY"} tests/device 2>&1 |
  tee "$out/tests.txt" | tail -n 15
tested=${PIPESTATUS[0]}

timeout --foreground 290 "$python" -m pytest "${quiet[@]}" -rs -p gpu_plugin bench/gpu/speed.py \
  --rootdir bench/gpu --confcutdir bench/gpu \
  ${GDOPT_BENCH_ONLY:+-k "$GDOPT_BENCH_ONLY"} \
  --benchmark-json="$out/benchmark.json" --benchmark-disable-gc --benchmark-quiet 2>&1 |
  tee "$out/benchmark.txt" | grep -vE '^(bench|speed|---|Name|\.|$)' | tail -n 40
measured=${PIPESTATUS[0]}

timeout --foreground 60 "$python" bench/gpu/plan.py "$out"
planned=$?

"$python" bench/gpu/summary.py "$out"
summed=$?
echo "GPU tests: exit $tested; benchmark: exit $measured; plan: exit $planned; summary: exit $summed"
[ "$tested" -eq 0 ] && [ "$measured" -eq 0 ] && [ "$planned" -eq 0 ] && [ "$summed" -eq 0 ]
