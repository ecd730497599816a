"""Values of options as sbatch(1) writes them. Each raises ValueError that says what to write."""

import re
from typing import Any, Final

from caravan.contracts.spec import MAX_ARRAY_INDEX

KIB: Final = {"K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}
TIMES: Final = {"": 1, "k": 1024, "m": 1024**2}
MOST_INDICES: Final = 100_000
MOST: Final = 1_000_000
"""Of nodes, tasks, cores: what is more is a slip, and JobSpec's own limits are lower."""
MOST_SECONDS: Final = 366 * 86_400


def seconds(text: str) -> int:
    """Minutes, m:s, h:m:s, d-h, d-h:m or d-h:m:s as seconds, in whole minutes: Slurm rounds up."""
    if text.upper() in ("INFINITE", "UNLIMITED", "-1"):
        raise ValueError("a job has an end here; write how long it may take")
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text, re.ASCII)
    if found is None:
        raise ValueError("write minutes, m:s, h:m:s, d-h, d-h:m or d-h:m:s")
    days, *rest = found.groups()
    parts = [int(part) for part in rest if part is not None]
    if days is not None or len(parts) == 3:
        hours, minutes, secs = parts + [0] * (3 - len(parts))
    else:
        hours, minutes, secs = 0, parts[0], parts[1] if len(parts) == 2 else 0
    total = ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + secs
    if not total:
        raise ValueError("0 is no limit for Slurm, and a job has an end here; write how long it may take")
    if total > MOST_SECONDS:
        raise ValueError("a job may take 366 days at most")
    return -(-total // 60) * 60


def memory_mib(text: str) -> int:
    """A size in MiB, or with K, M, G or T; less than a MiB counts as one."""
    found = re.fullmatch(r"(\d+)(?:([KMGT])B?)?", text, re.ASCII | re.IGNORECASE)
    if found is None:
        raise ValueError("write a number with K, M, G or T; MiB without")
    kib = int(found[1]) * KIB[(found[2] or "M").upper()]
    if not kib:
        raise ValueError("0 is all of a node's memory for Slurm; write how much it needs")
    return -(-kib // 1024)


def array(text: str) -> dict[str, Any]:
    """`0-9:2,20%4` as an Array: sorted, each index once."""
    found = re.fullmatch(r"([\d,:\-]+)(?:%(\d+))?", text, re.ASCII)
    if found is None:
        raise ValueError(f"{text!r} is no array; write 0-3, 1,5,7 or 0-99%10")
    indices: set[int] = set()
    for part in found[1].split(","):
        one = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        first, last, step = (int(one[1]), int(one[2] or one[1]), int(one[3] or 1)) if one else (1, 0, 0)
        if first > last or step == 0:
            raise ValueError(f"{part!r} is no range of indexes")
        if last > MAX_ARRAY_INDEX or len(range(first, last + 1, step)) > MOST_INDICES:
            raise ValueError(f"{part!r} has too many indexes: at most {MOST_INDICES:,}, none above {MAX_ARRAY_INDEX:,}")
        indices.update(range(first, last + 1, step))
    if found[2] and int(found[2]) == 0:
        raise ValueError("at most 0 at once is none; write %1 or more")
    return {"indices": sorted(indices)} | ({"max_parallel": int(found[2])} if found[2] else {})


def count_of(text: str) -> int:
    count = int(text) if re.fullmatch(r"\d+", text, re.ASCII) else 0
    if not 0 < count <= MOST:
        raise ValueError(f"write a number from 1 to {MOST:,}")
    return count


def nodes(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)([km]?)(?:-(\d+)([km]?))?", text, re.ASCII | re.IGNORECASE)
    if found is None:
        raise ValueError("write a number, or the least and the most (2-4)")
    least = count_of(found[1]) * TIMES[found[2].lower()]
    most = count_of(found[3]) * TIMES[found[4].lower()] if found[3] else least
    if not least <= most <= MOST:
        raise ValueError(f"the smaller number comes first, and neither is above {MOST:,}")
    return least, most


def devices(text: str, option: str) -> tuple[int, str | None]:
    """`gpu:h100:2`, or `h100:2` where gpu is meant anyway, as a count and a kind. A gres of another name is a kind itself (`dcu:4`)."""
    total, kinds = 0, set[str | None]()
    for part in text.split(","):
        name, *rest = re.split("[:=]", ("" if option == "gres" else "gpu:") + part.strip().removeprefix("gres/"))
        count = int(rest.pop()) if rest and re.fullmatch(r"\d+", rest[-1], re.ASCII) else 1
        if not name or len(rest) > 1 or (rest and not rest[0]):
            raise ValueError("write gpu:2 or gpu:h100:2" if option == "gres" else "write 2 or h100:2")
        if name == "none" and option == "gres":
            continue
        total += count
        kinds.add(rest[0] if rest else None if name == "gpu" else name)
    if len(kinds) > 1:
        raise ValueError("a job has one kind of accelerator here; ask for one, or submit two jobs")
    return total, kinds.pop() if kinds else None
