#!/usr/bin/env bash
# Builds the release and tries its wheel where nothing else is installed.
#
#   .ci/release.sh build                      the wheel and the sdist into dist/, checked
#   .ci/release.sh try PYTHON [EXTRA...]      dist's wheel in a clean environment of that
#                                             interpreter: with NumPy alone, then with
#                                             each extra; by default with all of them
#
# The packages of an extra are looked for where pip looks. Each environment is deleted
# before the next is made, as CUDA's libraries take gigabytes.
set -euo pipefail
cd "$(dirname "$0")/.."

EXTRAS=(numba bfloat16 pandas train tune cuda12x cuda13x) # those for users
CHECK=$PWD/.ci/try_wheel.py
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

build() {
  rm -rf dist
  python3 -m venv "$scratch/build"
  "$scratch/build/bin/pip" install --quiet "build>=1.2" "twine>=6.1"
  "$scratch/build/bin/python" -m build --outdir dist
  "$scratch/build/bin/twine" check --strict dist/*
  python3 "$CHECK" --contents dist
}

try() { # PYTHON, then an extra or nothing
  local wheel
  wheel=$(echo dist/*.whl)
  "$1" -m venv "$scratch/venv"
  "$scratch/venv/bin/python" -m pip install --quiet --no-cache-dir "$wheel${2:+[$2]}"
  # Outside of the checkout, whose gdopt would be imported in place of the wheel's.
  (cd "$scratch" && "$scratch/venv/bin/python" -I -W error "$CHECK" "${2:-}")
  rm -rf "$scratch/venv"
}

case ${1:-} in
  build) build ;;
  try)
    python=$(command -v "$2")
    extras=("${@:3}")
    [ ${#extras[@]} -gt 0 ] || extras=("" "${EXTRAS[@]}")
    for extra in "${extras[@]}"; do try "$python" "$extra"; done
    ;;
  *)
    echo "usage: .ci/release.sh build | try PYTHON [EXTRA...]" >&2
    exit 2
    ;;
esac
