"""The first process of a cluster's namespaces: lays its folder out, waits for the end, and leaves nothing.

`cluster.py` starts it under `unshare`, so it is process 1 there: what is started in these namespaces ends with it, however it ends.
"""

import json
import os
import secrets
import select
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.backends import namespaces
from tests.backends.kubernetes import configuration, outside
from tests.backends.kubernetes.cluster import BUSYBOX, Cluster
from tests.backends.kubernetes.image import image

HERE = Path(__file__).parent


def lay_out(folder: Path, ports: configuration.Ports, programs: list[str]) -> None:
    for name in ("bin", "etcd", "keys", "log", "users"):
        (folder / name).mkdir(0o700)
    for program in programs:
        (folder / "bin" / Path(program).name).symlink_to(program)
    (folder / "bin/node").symlink_to(HERE / "node.sh")
    certify(folder / "keys")
    tokens = {user: secrets.token_hex(16) for user in configuration.USERS}
    lines = [f'{token},{user},{user},"{configuration.USERS[user]}"\n' for user, token in tokens.items()]
    (folder / "keys/tokens.csv").write_text("".join(lines))
    for user, token in tokens.items():
        url, authority = f"https://127.0.0.1:{ports.api}", f"{folder}/keys/authority.crt"
        (folder / "users" / user).write_text(configuration.kubeconfig(url, authority, token))


def lay_out_node(folder: Path, number: int) -> None:
    node = folder / "node"
    for name in ("containers", "net.d"):
        (node / name).mkdir(parents=True)
    names = outside.bridge(number), outside.group(number), outside.address(number)
    for name, content in configuration.node_files(folder, *names).items():
        (node / name).write_text(content)
    (node / "runc").symlink_to(HERE / "runc.sh")
    (node / "image.tar").write_bytes(image(folder / BUSYBOX))


def certify(keys: Path) -> None:
    """An authority, and the certificate of whatever serves."""
    (keys / "openssl.cnf").write_text(configuration.CERTIFICATES)
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 3650 -config openssl.cnf"
    authority = "-subj /CN=caravan -extensions authority -keyout authority.key -out authority.crt"
    server = "-subj /O=system:masters/CN=caravan-server -extensions server -keyout server.key -out server.crt"
    for command in (f"{make} {authority}", f"{make} {server} -CA authority.crt -CAkey authority.key"):
        subprocess.run(command.split(), cwd=keys, check=True, stderr=subprocess.PIPE)


def keep(*, stays: bool) -> None:
    """Return when the cluster isn't wanted any longer: its standard input has closed; or never, when it stays until a signal."""
    while stays or not select.select([sys.stdin], [], [], 0)[0]:
        time.sleep(0.2)
        namespaces.reap()


def end(folder: Path, number: int) -> None:
    namespaces.kill_all()
    outside.remove(number, folder / BUSYBOX)
    os.chdir("/")
    shutil.rmtree(folder)


def main() -> None:
    asked = json.loads(sys.argv[1])
    folder = Path(asked["folder"])
    pid = namespaces.enter(folder)
    number, held = outside.take()
    try:
        ports = configuration.Ports.free()
        lay_out(folder, ports, asked["programs"])
        lay_out_node(folder, number)
        outside.make(number, folder / BUSYBOX)
        print(json.dumps(asdict(Cluster(str(folder), pid, number, ports))), flush=True)
        keep(stays=asked["stays"])
    except (OSError, subprocess.SubprocessError) as fault:
        print(f"{type(fault).__name__}: {fault}", flush=True)
    finally:
        end(folder, number)
        held.close()


if __name__ == "__main__":
    main()
