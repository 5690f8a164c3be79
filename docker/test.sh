#!/bin/sh
# The tests, in an image: they try the wheel that is installed there.
#
#   test.sh [OPTIONS of pytest]
#
# The text of CUDA kernels is not compiled, as an image has no g++.
set -eu
cd "$(dirname "$0")/.."
exec pytest -p no:cacheprovider -m "not cuda_text" "$@" tests README.md --pyargs gdopt
