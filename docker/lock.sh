#!/usr/bin/env bash
# Renews the locked requirements of the images: every package with its version and the
# hashes of its files on PyPI, for the Python of the Dockerfiles.
#
#   docker/lock.sh            renews what is newer than the files say
#   docker/lock.sh --check    fails where the files do not fit pyproject.toml any more
#
# Needs uv (pip install uv) and PyPI. Nothing of this machine's configuration counts.
set -euo pipefail
cd "$(dirname "$0")/.."

locks=docker/requirements
upgrade=(--upgrade)
target=$locks
if [ "${1:-}" = --check ]; then
  target=$(mktemp -d)
  trap 'rm -rf "$target"' EXIT
  cp "$locks"/*.txt "$target"
  upgrade=()
elif [ $# -gt 0 ]; then
  echo "usage: docker/lock.sh [--check]" >&2
  exit 2
fi
command -v uv > /dev/null || { echo "docker/lock.sh needs uv: pip install uv" >&2; exit 1; }
python=$(sed -nE 's/^FROM .*python:([0-9]+\.[0-9]+)\..*/\1/p' docker/gpu.Dockerfile)
cuda=(--extra cuda12x --extra nccl12x)
common=(--extra numba --extra bfloat16 --extra train --extra tune --extra mpi)

compile() { # NAME, then what it is made from
  local name=$1
  shift
  # Debian trixie has glibc 2.41; without sources, as the images have no compiler.
  uv pip compile --quiet --no-config --default-index https://pypi.org/simple \
    --python-version "$python" --python-platform x86_64-manylinux_2_40 \
    --only-binary :all: --generate-hashes --no-annotate --custom-compile-command docker/lock.sh \
    "${upgrade[@]}" --output-file "$target/$name.txt" "$@" > /dev/null
  echo "$name.txt: $(grep -c '==' "$target/$name.txt") packages for Python $python"
}

compile build "$locks/build.in"
compile cpu "${common[@]}" --extra bench pyproject.toml "$locks/mpi.in"
compile gpu "${cuda[@]}" "${common[@]}" pyproject.toml "$locks"/{gpu,mpi}.in
compile optax --constraint "$target/gpu.txt" "$locks/optax.in"

if [ "$target" != "$locks" ] && ! diff --recursive --brief --exclude='*.in' "$target" "$locks"; then
  echo "the locked requirements do not fit pyproject.toml: run docker/lock.sh" >&2
  exit 1
fi
