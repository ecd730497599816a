"""Plays the story, and ends with exit code 0 only when the statements and the books agree."""

import argparse
import asyncio
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Final

from rich.panel import Panel

from bench.demo import centre, enterprise, everywhere, finance
from bench.demo.stages import Kubernetes, Local, Slurm, Stage, clusters
from bench.demo.telling import Teller, TookTooLong, WentWrong
from bench.demo.world import World
from bench.ending import like_ctrl_c
from bench.platform import SERVICES, Platform
from caravan.client import ServiceUnavailable
from caravan.kernel.problems import Problem
from tests.backends import kubernetes, slurm
from tests.backends.shelf import LeftOut
from tests.backends.slurm.cluster import running as running_slurm

MARKER: Final = ".made-by-the-demo"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.demo", description="The story of a job, from catalog to statement."
    )
    parser.add_argument("--folder", type=Path, default=Path("demo-out"), help="for all that it makes; emptied first")
    parser.add_argument("--split", action="store_true", help="one process per service, over real HTTP between them")
    parser.add_argument("--keep", action="store_true", help="leave the platform running at the end, until Ctrl-C")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--kubernetes", action="store_true", help="on a Kubernetes cluster, started for it")
    where.add_argument(
        "--everywhere",
        action="store_true",
        help="on this machine, and then a job on each of a Slurm and a Kubernetes cluster too",
    )
    where.add_argument(
        "--slurm",
        choices=[release.name for release in slurm.RELEASES],
        help="on a Slurm cluster of this release, started for it; else on this machine itself",
    )
    asked = parser.parse_args()
    folder: Path = asked.folder.absolute()
    if not _empty(folder):
        print(f"{folder} is not the demo's, and not empty: give another --folder", file=sys.stderr)
        return 2
    teller = Teller()
    platform = Platform(folder / "platform", split=asked.split)
    try:
        with _stages(asked, folder) as (stage, *more):
            asyncio.run(_play(teller, platform, stage, folder, more, keep=asked.keep))
            if asked.keep:
                _until_interrupted()
        return 0
    except (WentWrong, TookTooLong, ServiceUnavailable, LeftOut, RuntimeError) as error:
        teller.out.print(f"\n{error}", style="bold red", markup=False)
    except Problem as problem:
        teller.out.print(f"\n{problem.title_zh} {problem.title}: {problem.body()}", style="bold red", markup=False)
    except KeyboardInterrupt:
        teller.out.print("\nstopped")
    finally:
        platform.stop()
    print(f"The platform's log: {platform.log}", file=sys.stderr)
    return 1


@contextmanager
def _stages(asked: argparse.Namespace, folder: Path) -> Iterator[Sequence[Stage]]:
    """The story's own first. Raises LeftOut."""
    with ExitStack() as ends:
        if asked.kubernetes:
            yield (Kubernetes(ends.enter_context(kubernetes.running()), ends),)
        elif asked.slurm is not None:
            (release,) = [release for release in slurm.RELEASES if release.name == asked.slurm]
            yield (Slurm(ends.enter_context(running_slurm(release)), ends),)
        elif asked.everywhere:
            yield Local(folder / "site"), *clusters(ends)
        else:
            yield (Local(folder / "site"),)


def _until_interrupted() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        return


async def _play(
    teller: Teller, platform: Platform, stage: Stage, folder: Path, more: Sequence[Stage], *, keep: bool
) -> None:
    async with AsyncExitStack() as stack:
        await _chapters(World(teller, platform, stage, folder, stack, more), keep=keep)


async def _chapters(world: World, *, keep: bool) -> None:
    teller, platform = world.teller, world.platform
    how = "每个服务一个进程 one process per service" if platform.split else "单进程 all services in one process"
    teller.show(
        Panel(
            "一份作业，从目录到对账单：一家算力中心出售算力，一家企业计算，财务关账。\n"
            "One job from catalog to statement: a centre sells, an enterprise computes, finance closes the books.\n"
            f"[dim]{how}, SQLite, {world.stage.adapter}, {world.folder}[/]",
            title="[bold]商队 Caravan[/]",
            border_style="cyan",
        )
    )
    seconds = await world.begin()
    teller.say(f"平台就绪 the platform is ready: {platform.url('broker')} ({seconds:.1f} s)")
    await centre.joins(world)
    await enterprise.opens_a_project(world)
    await enterprise.asks_for_a_quote(world)
    await enterprise.asks_too_much(world)
    await enterprise.computes_through_a_crash(world)
    await enterprise.sees_the_others_end(world)
    if world.more_stages:
        await everywhere.computes_in_each_hall(world)
    await finance.explains_a_charge(world)
    await finance.follows_the_money(world)
    await finance.bills_what_was_used(world)
    closed, statements = await finance.closes_the_period(world)
    await finance.lets_it_be_checked(world, closed, statements)
    _farewell(world, keep=keep)


def _farewell(world: World, *, keep: bool) -> None:
    platform, out = world.platform, world.teller.out
    caravan = f"CARAVAN_MODE=development CARAVAN_DATA_DIR={_near(platform.data)} .venv-run/bin/caravan"
    url = platform.url("catalog").removesuffix("/catalog")
    docs = [f"{platform.url(service)}/docs" for service in SERVICES]
    rows = [
        ("全程 took", f"{time.monotonic() - world.teller.began:.0f} s"),
        ("对账单 statements", f"{_near(world.folder / 'statements')}/ (JSON, CSV)"),
        ("复核数据 checked data", f"{_near(world.folder / 'export')}/"),
    ]
    if keep:
        rows += [("接口文档 API docs", "  ".join(docs)), ("结束 end it", "Ctrl-C")]
    else:
        rows += [
            ("继续 serve this data", f"{caravan} serve"),
            ("全新 an empty platform", "make serve   (make demo ARGS=--keep leaves this one running)"),
            ("接口文档 API docs", "then at http://127.0.0.1:8000/catalog/docs, /broker/docs, /accounting/docs"),
        ]
    rows.append(("令牌 a token", f"export CARAVAN_TOKEN=$({caravan} token -p org/{world.organization.id}:admin)"))
    rows.append(
        ("试试 try", f"{f'CARAVAN_URL={url} ' if keep and not platform.split else ''}.venv-run/bin/caravan jobs list")
    )
    out.print()
    for name, value in rows:
        out.print(f"[bold]{name}[/]: ", end="")
        out.print(value, markup=False, soft_wrap=True)


def _near(path: Path) -> Path:
    """Relative where that is shorter to read."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _empty(folder: Path) -> bool:
    """Make the folder anew; False when it holds what isn't the demo's."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            return False
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
    return True


if __name__ == "__main__":
    like_ctrl_c()
    sys.exit(main())
