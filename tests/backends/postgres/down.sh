#!/bin/bash
# Ends the PostgreSQL that up.sh started in FOLDER (the process named by its pid file), and removes FOLDER.
# usage: tests/backends/postgres/down.sh FOLDER
set -euo pipefail
folder=${1:?usage: down.sh FOLDER}
[ -d "$folder" ] || exit 0
pid_file=$folder/data/postmaster.pid
if [ -s "$pid_file" ]; then
    pid=$(head -n1 "$pid_file")
    # a pid file can outlive its process, and the number be another's by then
    if [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$(readlink -f "$folder/data")" ]; then
        kill -QUIT "$pid"  # at once, without a checkpoint: what it would write is removed
        for _ in $(seq 300); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
    fi
fi
if [ -e "$folder/data/PG_VERSION" ]; then rm -rf "$folder"; fi
