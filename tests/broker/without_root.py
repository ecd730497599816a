"""Runs a part of the tests as a user that isn't root but owns the same files: a process in a user namespace of its own.

`suite` runs the tests that depend on isolation; `refused <settings>` opens a local site where no namespace may be made; `unmounted
<settings>` as root that may not mount.
"""

import asyncio
import json
import os
import sys
from typing import Any

from services.broker.adapters import local
from services.broker.adapters.local import linux
from services.broker.adapters.port import SiteContext, SiteRefused
from tests.contract.backends import Harness, Site

USER = 1000
PR_CAPBSET_DROP = 24
CAP_SYS_ADMIN = 21
WANTED = "local and (tenants_job or outlives_it or killed_supervisor or both_are_killed or world)"


def become(uid: int) -> None:
    """Be `uid` in a new user namespace, mapped to who this was."""
    was_uid, was_gid = os.getuid(), os.getgid()
    linux.unshare(linux.CLONE_NEWUSER)
    for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {was_uid} 1"), ("gid_map", f"{uid} {was_gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)


async def open_site(settings: dict[str, Any]) -> None:
    try:
        harness = Harness(local.adapter, SiteContext(site="sit_1", settings=settings))
        async with harness.open() as backend:
            site = Site(harness, backend)
            own = f"{settings['folder']}/site.json"
            reference = await site.start(f"#!/bin/sh\nid -u; cat {own} || echo closed; cd && touch x && ls\n")
            await site.ended(reference)
            print(await site.text(reference))
    except SiteRefused as error:
        print(f"refused: {error}")


def main(what: str, *rest: str) -> int:
    if what == "suite":
        become(USER)
        tests = ["tests/contract/test_backend_executing.py", "tests/broker/test_local_adapter.py"]
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *tests, "-q", "-p", "no:cacheprovider", "-k", WANTED])
    if what == "refused":
        again("open", *rest)
    if what == "unmounted":
        if os.getuid() == 0:
            linux.prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN)
        os.execv(sys.executable, [sys.executable, "-m", "tests.broker.without_root", "open", *rest])
    if what == "open":
        asyncio.run(open_site(json.loads(rest[0])))
    return 0


def again(what: str, *rest: str) -> None:
    """Execute this anew as the user: only that gives up the powers of the namespace's maker."""
    become(USER)
    with open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")
    os.execv(sys.executable, [sys.executable, "-m", "tests.broker.without_root", what, *rest])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
