"""The ways in which one looks at a job, and what must be seen in them by who may."""

from typing import Final

from bench.leaking import WORD

KINDS: Final = ("script", "environment", "output", "name", "argument", "file", "secret")
"""Where a job carries a word; the last one is in a Secret of its namespace."""
TOKEN: Final = "eyJ"
"""What each token of a service account begins with."""

IN_A_JOB: Final = (
    "find /caravan /tmp /run /var /etc /dev/shm /mnt /home /root -type f -exec cat {} +",
    "cat /proc/[0-9]*/environ",
    "cat /proc/[0-9]*/cmdline",
    "find /proc/[0-9]*/cwd/ -maxdepth 1 -type f -exec cat {} +",
    "find / -path /proc -prune -o -path /sys -prune -o -path '*serviceaccount*' -type f -exec cat {} +",
    "mount",
)
WORDS: Final = f"grep -aoE '{WORD}|{TOKEN}[A-Za-z0-9]+'"
LOOK: Final = f"{{ {'; '.join(IN_A_JOB)}; }} 2>/dev/null | tr '\\0' '\\n' | {WORDS} | sort -u"
"""Of a script that looks around: it says which secret words, and what of tokens, it found."""

BY_KUBERNETES: Final = (
    "api/v1/namespaces/{namespace}/configmaps",
    "api/v1/namespaces/{namespace}/secrets",
    "api/v1/namespaces/{namespace}/pods",
    "api/v1/namespaces/{namespace}/events",
    "api/v1/namespaces/{namespace}/pods/{pod}/log",
    "apis/batch/v1/namespaces/{namespace}/jobs",
    "apis/batch/v1/namespaces/{namespace}/jobs/{job}",
    "api/v1/configmaps",
    "api/v1/secrets",
    "api/v1/pods",
    "apis/batch/v1/jobs",
)
NOT_THE_AGENTS: Final = tuple(path for path in BY_KUBERNETES if path.endswith(("configmaps", "secrets")))
"""What the platform itself may not read either."""

ADMINISTRATOR: Final = "Kubernetes, as its administrator"
JOB: Final = "a job of one's own"
CARAVAN: Final = "Caravan"
MUST_BE_SEEN: Final = (
    *((ADMINISTRATOR, kind) for kind in ("script", "environment", "output", "name", "secret")),
    *((JOB, kind) for kind in ("script", "environment", "argument", "file")), (CARAVAN, "name"), (CARAVAN, "output"),
)  # fmt: skip
"""Place and kind: what is seen there by who may."""
