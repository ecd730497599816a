#!/bin/bash
# Makes a virtual environment from a lock, with the project in it as it stands in this tree (edits show at once).
# usage: scripts/venv.sh VENV LOCK
#
# PYTHON names the interpreter (python3). CARAVAN_CACHE (~/.cache/caravan) keeps the wheels of each lock, so a warm run
# downloads nothing. What was made from the same lock, project file and interpreter is left as it is.
set -euo pipefail
venv=$1 lock=$2
python=${PYTHON:-python3}
cache=${CARAVAN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/caravan}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

if ! tag=$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))'); then
    echo "Caravan needs Python 3.11 or newer; '$python' is $("$python" --version 2>&1 || true)." \
        "Name another, as in: make setup PYTHON=python3.12" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "'$python' has no venv (on Debian and Ubuntu: apt-get install python3-venv)." >&2
    exit 1
fi

digest() { grep -v '^ *#' "$1" | sha256sum | cut -c1-16; }
made_from="$tag $("$python" -c 'import sys; print(sys.base_prefix)') $(digest "$lock")"
installed_from=$(digest pyproject.toml)

if [ "$(cat "$venv/.made-from" 2>/dev/null)" != "$made_from" ]; then
    echo "Making $venv from $lock" >&2
    rm -rf "$venv"
    "$python" -m venv "$venv"
    wheels=$cache/wheels/$tag-$(uname -m)-$(digest "$lock")
    if [ ! -d "$wheels" ]; then
        mkdir -p "$cache/wheels"
        fresh=$(mktemp -d "$cache/wheels/.fresh.XXXXXX")
        trap 'rm -rf "$fresh"' EXIT
        "$venv/bin/python" -m pip download -q --no-deps --require-hashes -r "$lock" -d "$fresh"
        # another run may have been first, with the same files
        mv -T "$fresh" "$wheels" 2>/dev/null || [ -d "$wheels" ]
    fi
    "$venv/bin/python" -m pip install -q --no-compile --no-index --find-links "$wheels" --require-hashes -r "$lock"
    echo "$made_from" >"$venv/.made-from"
fi
if [ "$(cat "$venv/.installed-from" 2>/dev/null)" != "$installed_from" ]; then
    "$venv/bin/python" -m pip install -q --no-deps --no-build-isolation -e .
    echo "$installed_from" >"$venv/.installed-from"
fi
