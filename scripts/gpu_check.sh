#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that only a GPU can show, in one command, on a bare machine with a driver, Python and a C++ compiler.
#
#   scripts/gpu_check.sh                    install from PyPI into a new virtual environment
#   scripts/gpu_check.sh --wheels DIR       install from the wheels in DIR, without a network, beside what is there
#
# Options after `--` go to scripts/gpu_check.py. CMAKE_PREFIX_PATH or CMAKE_INCLUDE_PATH may name the headers of
# nlohmann-json and CLI11 where they are not installed.
set -euo pipefail
cd "$(dirname "$0")/.."

wheels=""
while [ $# -gt 0 ]; do
  case "$1" in
    --wheels) wheels=$2; shift 2 ;;
    --) shift; break ;;
    *) echo "usage: $0 [--wheels DIR] [-- options of gpu_check.py]" >&2; exit 2 ;;
  esac
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -n "$wheels" ]; then
  python3 -m pip install -q --no-index --no-deps --no-compile --target "$work/site" "$wheels"/*.whl
  export PYTHONPATH="$work/site${PYTHONPATH:+:$PYTHONPATH}"
  python=python3
else
  python3 -m venv "$work/venv"
  python=$work/venv/bin/python
  "$python" -m pip install -q -e ".[test]"
fi

status=0
"$python" -m pytest -q -m "gpu or slow" --require-gpu --run-slow -p no:cacheprovider || status=1
"$python" scripts/gpu_check.py "$@" || status=1
exit $status
