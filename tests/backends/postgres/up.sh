#!/bin/bash
# Starts a PostgreSQL of our own on loopback and prints its DSN. Installs Debian's when there is none (as root).
# usage: tests/backends/postgres/up.sh FOLDER
#
# FOLDER holds the cluster, its log and its pid file; calling it again prints the same DSN. The cluster runs as the user
# `postgres` when root starts it, listens on 127.0.0.1 on a free port and trusts whoever connects, so it is for tests
# alone. Durability is as PostgreSQL ships it (fsync and synchronous_commit on). down.sh ends it.
set -euo pipefail
folder=${1:?usage: up.sh FOLDER}

find_bin() {
    local initdb
    for initdb in "$(command -v initdb || true)" $(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -rV); do
        if [ -x "$initdb" ]; then dirname "$(readlink -f "$initdb")"; return; fi
    done
    return 1
}

if ! bin=$(find_bin); then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "No PostgreSQL here. Install one, or give a running one: CARAVAN_TEST_PG=postgresql://user@host:port/postgres" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    {
        apt-get -qq update
        apt-get -qq install -y --no-install-recommends postgresql-common
        # the package would start a server of the machine's own
        sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
        apt-get -qq install -y --no-install-recommends postgresql
    } >&2
    bin=$(find_bin)
fi

as_owner=()
mkdir -p "$folder"
if [ "$(id -u)" = 0 ]; then
    as_owner=(setpriv --reuid postgres --regid postgres --init-groups)
    chown postgres: "$folder"
fi
cd "$folder"
folder=$PWD

if [ ! -s data/PG_VERSION ]; then
    rm -rf data
    "${as_owner[@]}" env LC_ALL=C.UTF-8 "$bin/initdb" -D data -U caravan -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
        >initdb.log 2>&1 || { cat initdb.log >&2; exit 1; }
    cat >>data/postgresql.conf <<C
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
max_pred_locks_per_transaction = 256
shared_buffers = 256MB
max_wal_size = 2GB
log_min_messages = warning
C
fi

running() { [ -s data/postmaster.pid ] && "${as_owner[@]}" "$bin/pg_ctl" -D data status >/dev/null 2>&1; }
port() { sed -n 4p data/postmaster.pid; }

tries=0
until running; do
    tries=$((tries + 1))
    if [ "$tries" -gt 3 ]; then tail -n 20 server.log >&2; exit 1; fi
    free=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    # another process may take the port first: then the next try has another one
    "${as_owner[@]}" "$bin/pg_ctl" -D data -l server.log -w -t 60 -s -o "-p $free" start </dev/null >/dev/null 2>&1 || true
done
echo "postgresql://caravan@127.0.0.1:$(port)/postgres"
