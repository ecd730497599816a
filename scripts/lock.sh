#!/bin/bash
# Writes requirements/*.txt from requirements/*.in: one lock for all Pythons from 3.11 on, with hashes and no index.
# usage: scripts/lock.sh [--upgrade]     The tool that resolves lives in a throwaway environment.
set -euo pipefail
cd "$(dirname "$0")/../requirements"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q uv

lock() { "$folder/venv/bin/uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-header "$@"; }
lock "$@" -o dev.txt dev.in
lock "$@" -c dev.txt -o runtime.txt runtime.in
lock "$@" --no-deps -o tools.txt tools.in
