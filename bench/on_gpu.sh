#!/usr/bin/env bash
# Runs the GPU tests and the GPU benchmark on a CUDA machine, in under nine minutes.
#
#   bench/on_gpu.sh OUTDIR
#
# Needs Python with CuPy and pytest; no network, and nothing is installed: the checkout
# is put on the path. A peer (torch, optax) that is not there is left out and named.
# In turn: the GPU tests in parallel, with the benchmark's kernels compiled meanwhile;
# the benchmark, whose most telling cases come first; the batch-size planner's plan.
# Writes to OUTDIR: tests.txt, warm.jsonl (the first steps), results.jsonl (a line as
# soon as it is measured), log.txt, plan.json, summary.json, summary.txt.
# GDOPT_BENCH_SECONDS is the time for all of it, 520 unless set.
# GDOPT_BENCH_REHEARSE=1 tries everything on a machine without a GPU, on small arrays
# with CuPy on the CPU: its figures mean nothing.
# GDOPT_BENCH_COMMIT names the commit where the checkout is no repository;
# GDOPT_BENCH_ONLY names what to run, by parts of names joined by " or ".
# Ctrl-C ends all of it, with 130; what is there by then stays.
set -uo pipefail
trap 'exit 130' INT
out=${1:?usage: bench/on_gpu.sh OUTDIR}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.." || exit
rm -f "$out"/{{tests,log}.txt,{warm,results}.jsonl,{plan,summary}.json,summary.txt}
export PYTHONPATH="$PWD:$PWD/tests:$PWD/bench/gpu${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
GDOPT_BENCH_COMMIT=${GDOPT_BENCH_COMMIT:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
export GDOPT_BENCH_COMMIT
caches=$(mktemp -d)
trap 'rm -rf "$caches"' EXIT
export GDOPT_CACHE_DIR=${GDOPT_CACHE_DIR:-$caches/gdopt}
# What XLA compiles ahead is found again, as is what Inductor does.
export JAX_COMPILATION_CACHE_DIR=$caches/jax JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
export TORCHINDUCTOR_CACHE_DIR=$caches/inductor
export XLA_PYTHON_CLIENT_PREALLOCATE=false  # JAX would take most of the memory
export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}  # one for each of many processes
python=${PYTHON:-python3}
seconds=${GDOPT_BENCH_SECONDS:-520}
begun=$(date +%s)
if [ -n "${GDOPT_BENCH_REHEARSE:-}" ]; then
  export GDOPT_BENCH_SCALE=${GDOPT_BENCH_SCALE:-100000}
fi

if [ -z "${GDOPT_CPU_ENGINE:-}" ] && ! "$python" -c "import numba" 2>> "$out/log.txt"; then
  echo "Numba cannot be imported: on the CPU, gdopt's formulas run on NumPy alone"
  export GDOPT_CPU_ENGINE=numpy
fi

# In the foreground: Ctrl-C would not reach a group of its own. Each ends by itself a
# little earlier, and says what it has not come to.
limited() { timeout --foreground --kill-after=5 "$@"; }
share() { echo $((seconds * $1 / 100)); }

limited "$(share 32)" "$python" bench/gpu/run_tests.py "$out" \
  --seconds "$(share 30)" ${GDOPT_BENCH_ONLY:+-k "$GDOPT_BENCH_ONLY"}
tested=$?

# Begun anew where CUDA, a crash or a job without an end has ended it.
until=$((begun + $(share 74)))
measured=70
for _ in 1 2 3 4; do
  left=$((begun + $(share 80) - $(date +%s)))
  [ "$left" -gt 0 ] || break
  limited "$left" "$python" bench/gpu/speed.py "$out" --until "$until" 2>> "$out/log.txt"
  measured=$?
  case $measured in 0 | 3 | 124 | 130) break ;; esac
done

limited "$(share 12)" "$python" bench/gpu/plan.py "$out"
planned=$?

limited 20 "$python" bench/gpu/summary.py "$out"
summed=$?
echo "GPU tests: exit $tested; benchmark: exit $measured; plan: exit $planned; summary: exit $summed"
[ "$tested" -eq 0 ] && [ "$measured" -eq 0 ] && [ "$planned" -eq 0 ] && [ "$summed" -eq 0 ]
