#!/bin/bash
# Makes a virtual environment from a lock, and installs the project into it.
# usage: scripts/venv.sh VENV LOCK [-e]     -e installs the project so that edits of the tree show at once
#
# PYTHON names the interpreter (python3). CARAVAN_CACHE (~/.cache/caravan) keeps the wheels of each lock, so a warm run
# downloads nothing. An environment made from the same lock, project file and interpreter is left as it is.
set -euo pipefail
venv=$1 lock=$2 editable=${3:-}
python=${PYTHON:-python3}
cache=${CARAVAN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/caravan}

if ! tag=$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))'); then
    echo "Caravan needs Python 3.11 or newer; '$python' is $("$python" --version 2>&1 || true)." \
        "Name another: make ${MAKE_GOAL:-setup} PYTHON=python3.12" >&2
    exit 1
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
    echo "'$python' lacks venv (Debian, Ubuntu: apt-get install python3-venv)." >&2
    exit 1
}

digest=$(cat "$lock" | sha256sum | cut -c1-16)
stamp="$tag $("$python" -c 'import sys; print(sys.base_prefix)') $(cat "$lock" pyproject.toml "$0" | sha256sum | cut -c1-32) $editable"
if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.caravan" 2>/dev/null)" = "$stamp" ] && [ -n "$editable" ]; then
    exit 0
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
if [ "$(head -n1 "$venv/.caravan" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
    wheels=$cache/wheels/$tag-$(uname -m)-$digest
    if [ ! -d "$wheels" ]; then
        mkdir -p "$cache/wheels"
        fresh=$(mktemp -d "$cache/wheels/.fresh.XXXXXX")
        trap 'rm -rf "$fresh"' EXIT
        "$venv/bin/python" -m pip download -q --no-deps --require-hashes -r "$lock" -d "$fresh"
        mv -T "$fresh" "$wheels" 2>/dev/null || true  # another run was first: the same files
    fi
    "$venv/bin/python" -m pip install -q --no-index --find-links "$wheels" --require-hashes -r "$lock"
fi
"$venv/bin/python" -m pip install -q --no-deps --no-build-isolation $editable .
echo "$stamp" >"$venv/.caravan"
