"""What an administrator would write: the daemons' commands and files.

A cluster is a folder: `bin` (links to the programs), `keys`, `users` (a kubeconfig each), `etcd`, `log`, and what the node has of its own
below `node`. One real node, n0, has 8 H100 that nobody made. `alice` and `bob` may do nothing until a role is bound to them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.backends.kubernetes.image import PAUSE
from tests.backends.ports import free_ports

NODE = "n0"
ADMIN = "admin"
USERS = {
    ADMIN: "system:masters",
    "alice": "people",
    "bob": "people",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
    f"system:node:{NODE}": "system:nodes",
}
"""Each with its group."""

GPU = "nvidia.com/gpu"
GPUS = 8
"""Of each node."""
GPU_MODEL = "nvidia.com/gpu.product"
"""The label that a node's GPUs are known by, as NVIDIA's operator writes it."""
H100 = "NVIDIA-H100-80GB-HBM3"
FAKE = "caravan.test/fake"
"""Labels and taints the nodes that kwok plays."""
KUBELET_PORT = 10250
NODE_LOST_SECONDS = 15
"""After so long without its word a node isn't ready (Kubernetes' own default is 50)."""

# One for whatever serves: the apiserver, which also asks the kubelet with it, and Kueue.
CERTIFICATES = """\
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = IP:127.0.0.1, IP:10.96.0.1, DNS:localhost, DNS:kubernetes.default.svc
"""

CONTAINERD = "/run/containerd/containerd.sock"
"""In the node's own /run."""
CONTAINERD_TOML = """\
version = 2
root = "{folder}/node/containerd"
state = "/run/containerd"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/node/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
disable_apparmor = true
# root in a container may lack what it takes to lower a process's score, and no sandbox would start
restrict_oom_score_adj = true
stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{folder}/bin"
conf_dir = "{folder}/node/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{folder}/node/runc"
"""


@dataclass(frozen=True, slots=True)
class Ports:
    api: int
    etcd: int
    etcd_peers: int
    controllers: int
    scheduler: int
    kwok: int
    kueue: int
    kueue_health: int

    @classmethod
    def free(cls) -> Self:
        return cls(*free_ports(len(cls.__slots__)))


def commands(folder: Path, ports: Ports, address: str) -> dict[str, list[str]]:
    """How each daemon is started. `address` is the node's."""
    keys, users = folder / "keys", folder / "users"
    etcd, peers = (f"http://127.0.0.1:{port}" for port in (ports.etcd, ports.etcd_peers))

    def asks_as(user: str) -> dict[str, object]:
        return dict.fromkeys(("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"), users / user)

    served = {
        "bind-address": "127.0.0.1",
        "tls-cert-file": keys / "server.crt",
        "tls-private-key-file": keys / "server.key",
        "profiling": "false",
    }
    quick = {"leader-elect": "false", "kube-api-qps": 500, "kube-api-burst": 1000}
    return {
        "etcd": _command(
            folder,
            "etcd",
            {
                "name": "etcd",
                "data-dir": folder / "etcd",
                "unsafe-no-fsync": "true",  # what a crash of the machine would lose is removed anyway
                "listen-client-urls": etcd,
                "advertise-client-urls": etcd,
                "listen-peer-urls": peers,
                "initial-advertise-peer-urls": peers,
                "initial-cluster": f"etcd={peers}",
                "log-level": "warn",
            },
        ),
        "kube-apiserver": _command(
            folder,
            "kube-apiserver",
            {
                **served,
                "etcd-servers": etcd,
                "secure-port": ports.api,
                "endpoint-reconciler-type": "none",  # it would have loopback be an endpoint, which is refused
                "service-cluster-ip-range": "10.96.0.0/16",
                "client-ca-file": keys / "authority.crt",
                "token-auth-file": keys / "tokens.csv",
                "authorization-mode": "Node,RBAC",
                "enable-admission-plugins": "NodeRestriction",
                "service-account-issuer": "https://kubernetes.default.svc",
                "service-account-key-file": keys / "server.crt",
                "service-account-signing-key-file": keys / "server.key",
                "kubelet-client-certificate": keys / "server.crt",
                "kubelet-client-key": keys / "server.key",
                "kubelet-preferred-address-types": "InternalIP",
                "allow-privileged": "true",
            },
        ),
        "kube-controller-manager": _command(
            folder,
            "kube-controller-manager",
            {
                **served,
                **quick,
                **asks_as("system:kube-controller-manager"),
                "secure-port": ports.controllers,
                "use-service-account-credentials": "true",
                "service-account-private-key-file": keys / "server.key",
                "root-ca-file": keys / "authority.crt",
                "node-monitor-grace-period": f"{NODE_LOST_SECONDS}s",
            },
        ),
        "kube-scheduler": _command(
            folder,
            "kube-scheduler",
            {**served, **quick, **asks_as("system:kube-scheduler"), "secure-port": ports.scheduler},
        ),
        "node": [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"),
            *_command(
                folder,
                "node",
                {
                    "config": folder / "node/kubelet.json",
                    "kubeconfig": users / f"system:node:{NODE}",
                    "hostname-override": NODE,
                    "node-ip": address,
                    "node-labels": f"{GPU_MODEL}={H100}",
                    "runtime-cgroups": "/",
                },
                str(folder),
            ),
        ],
        "kwok": _command(
            folder,
            "kwok",
            {
                "kubeconfig": users / ADMIN,
                "config": folder / "kwok.yaml",
                "manage-all-nodes": "false",
                "manage-nodes-with-label-selector": FAKE,
                "node-lease-duration-seconds": 2 * NODE_LOST_SECONDS,  # renewed four times in it
                "server-address": f"127.0.0.1:{ports.kwok}",
            },
        ),
        # it wants a certificate for metrics, whether it serves them or not, in a folder that nobody can choose
        "kueue": [
            *("unshare", "--mount", "sh", "-ec", 'mount -t overlay -o "lowerdir=$0:/etc" etc /etc; exec "$@"'),
            f"{folder}/kueue/etc",
            *_command(folder, "kueue", {"kubeconfig": users / ADMIN, "config": folder / "kueue/kueue.yaml"}),
        ],
    }


def node_files(folder: Path, bridge: str, group: str, address: str) -> dict[str, str]:
    """What is in the node's folder, below that of the cluster. `address` is the node's, in a subnet of 256."""
    subnet = f"{address.rpartition('.')[0]}.0/24"
    network = {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": bridge,
                "isGateway": True,
                # no way out of the machine: there is no default route
                "ipam": {"type": "host-local", "dataDir": "/run/addresses", "ranges": [[{"subnet": subnet}]]},
            }
        ],
    }
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "port": KUBELET_PORT,
        "healthzPort": 0,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{group}",
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "podLogsDir": f"{folder}/node/logs",
        "volumePluginDir": f"{folder}/node/plugins",
        "resolvConf": "",
        "clusterDNS": ["10.96.0.10"],  # nobody answers there
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": f"{folder}/keys/authority.crt"},
        },
        "authorization": {"mode": "AlwaysAllow"},  # the apiserver alone has a certificate
        # the machine's disk is its owner's concern
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "5s",
        "nodeLeaseDurationSeconds": NODE_LOST_SECONDS,
        "maxPods": 200,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "eventRecordQPS": 0,
    }
    return {
        "net.d/pods.conflist": json.dumps(network),
        "kubelet.json": json.dumps(kubelet),
        "containerd.toml": CONTAINERD_TOML.format(folder=folder, pause=PAUSE),
    }


def kubeconfig(url: str, authority: str, token: str) -> str:
    """`authority` is a file."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "caravan", "cluster": {"server": url, "certificate-authority": authority}}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "caravan", "context": {"cluster": "caravan", "user": "user"}}],
            "current-context": "caravan",
        }
    )


def _command(folder: Path, program: str, options: dict[str, Any], *arguments: str) -> list[str]:
    return [f"{folder}/bin/{program}", *arguments, *(f"--{name}={value}" for name, value in options.items())]
