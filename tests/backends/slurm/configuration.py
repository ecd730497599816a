"""What a site's administrator would write: the configuration files of a cluster.

Four virtual nodes of 32 cores and 62.5 GiB: n1 and n2 with 8 H100 each (`gres/gpu:h100`), n3 and n4 with 8 Ascend 910B each
(`gres/npu:ascend910b`). Partitions: `batch` has all nodes and is the default, `gpu` and `npu` have theirs, `short` ends after 5 minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from tests.backends.ports import free_ports

HOST = "slurm"
NODES = ("n1", "n2", "n3", "n4")
DEVICES = tuple(f"{kind}{number}" for kind in ("gpu", "npu") for number in range(8))
KEY = "/etc/slurm/jwt_hs256.key"
STATE = "/run/slurm"

GRES = """\
NodeName=n[1-2] Name=gpu Type=h100 File=/dev/gpu[0-7]
NodeName=n[3-4] Name=npu Type=ascend910b File=/dev/npu[0-7]
"""

# https://slurm.schedmd.com/oci.conf.html has it for crun; here are no cgroups.
OCI = """\
EnvExclude="^(SLURM_CONF|SLURM_CONF_SERVER)="
RunTimeEnvExclude="^(SLURM_CONF|SLURM_CONF_SERVER)="
RunTimeQuery="crun --rootless=true --root=/tmp/oci.%U state %n.%u.%j.%s.%t"
RunTimeKill="crun --rootless=true --root=/tmp/oci.%U kill -a %n.%u.%j.%s.%t"
RunTimeDelete="crun --rootless=true --root=/tmp/oci.%U delete --force %n.%u.%j.%s.%t"
RunTimeRun="crun --rootless=true --root=/tmp/oci.%U --cgroup-manager=disabled run --bundle %b %n.%u.%j.%s.%t"
"""


@dataclass(frozen=True, slots=True)
class Ports:
    controller: int
    accounting: int
    rest: int
    nodes: tuple[int, ...]

    @classmethod
    def free(cls) -> Self:
        controller, accounting, rest, *nodes = free_ports(3 + len(NODES))
        return cls(controller, accounting, rest, tuple(nodes))


def slurmrestd(port: int) -> str:
    """Its command. It refuses to be root or Slurm's own user, and wants SLURM_JWT=daemon in its environment."""
    return f"slurmrestd -a rest_auth/jwt 127.0.0.1:{port}"


def slurm_conf(ports: Ports, changes: Mapping[str, str]) -> str:
    """`changes` are further settings, or other values of these; an empty value leaves a setting to Slurm's default."""
    settings = {
        "ClusterName": "caravan",
        "SlurmctldHost": f"{HOST}(127.0.0.1)",
        "SlurmctldPort": str(ports.controller),
        "SlurmUser": "slurm",
        "AuthAltTypes": "auth/jwt",
        "AuthAltParameters": f"jwt_key={KEY}",
        # loopback alone, or the daemons listen on every address
        "CommunicationParameters": "NoInAddrAny,NoCtldInAddrAny",
        "StateSaveLocation": f"{STATE}/controller",
        "SlurmdSpoolDir": f"{STATE}/%n",
        "SlurmctldPidFile": f"{STATE}/slurmctld.pid",
        "SlurmdPidFile": f"{STATE}/slurmd.%n.pid",
        "SlurmctldLogFile": "/var/log/slurm/slurmctld.log",
        "SlurmdLogFile": "/var/log/slurm/slurmd.%n.log",
        "MailProg": "/bin/true",
        "ProctrackType": "proctrack/linuxproc",
        "JobAcctGatherType": "jobacct_gather/linux",
        "JobAcctGatherFrequency": "5",
        "ReturnToService": "2",
        "KillWait": "2",
        "MinJobAge": "60",
        "SchedulerParameters": "batch_sched_delay=0,sched_min_interval=0,bf_interval=5",
        "PriorityType": "priority/multifactor",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU_Memory",
        "DefMemPerCPU": "100",
        # the nodes have more cores than this machine
        "SlurmdParameters": "config_overrides",
        "GresTypes": "gpu,npu",
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": "127.0.0.1",
        "AccountingStoragePort": str(ports.accounting),
        "AccountingStorageEnforce": "associations,limits,qos",
        "AccountingStorageTRES": "gres/gpu,gres/gpu:h100,gres/npu,gres/npu:ascend910b",
        "AccountingStoreFlags": "job_comment",
        **changes,
    }
    node = f"NodeHostname={HOST} NodeAddr=127.0.0.1 CPUs=32 RealMemory=64000 State=UNKNOWN"
    gpus, npus = (f"{ports.nodes[first]}-{ports.nodes[first + 1]}" for first in (0, 2))
    return (
        "".join(f"{name}={value}\n" for name, value in settings.items() if value)
        + f"NodeName=n[1-2] Port=[{gpus}] Gres=gpu:h100:8 {node}\n"
        + f"NodeName=n[3-4] Port=[{npus}] Gres=npu:ascend910b:8 {node}\n"
        + "PartitionName=batch Nodes=ALL Default=YES DefaultTime=60 MaxTime=INFINITE State=UP\n"
        + "PartitionName=gpu Nodes=n[1-2] DefaultTime=60 MaxTime=INFINITE State=UP\n"
        + "PartitionName=npu Nodes=n[3-4] DefaultTime=60 MaxTime=INFINITE State=UP\n"
        + "PartitionName=short Nodes=ALL DefaultTime=5 MaxTime=5 State=UP\n"
    )


def slurmdbd_conf(ports: Ports) -> str:
    """MariaDB knows the user `slurm` by its socket: there is no password."""
    settings = {
        "DbdHost": HOST,
        "DbdAddr": "127.0.0.1",
        "DbdPort": str(ports.accounting),
        "SlurmUser": "slurm",
        "AuthAltTypes": "auth/jwt",
        "AuthAltParameters": f"jwt_key={KEY}",
        "CommunicationParameters": "NoInAddrAny",
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "localhost",
        "StorageUser": "slurm",
        "StorageLoc": "slurm",
        "PidFile": f"{STATE}/slurmdbd.pid",
        "LogFile": "/var/log/slurm/slurmdbd.log",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


DATABASE = """\
CREATE DATABASE slurm;
CREATE USER slurm@localhost IDENTIFIED VIA unix_socket;
GRANT ALL ON slurm.* TO slurm@localhost;
"""
