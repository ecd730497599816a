"""How a submission at Slurm is referred to: everything that finds it again without any memory of ours. Pure."""

import re
from dataclasses import dataclass

_FORM = re.compile(r"([1-9]\d{0,9})-(\d{1,6})-([A-Za-z0-9]{1,64})-([a-z_][a-z0-9_.\-]{0,31})")


@dataclass(frozen=True, slots=True)
class Reference:
    """`<job id>-<tasks of the array, 0 without one>-<tag>-<Unix user>`. Job ids come again after a wrap or a new installation,
    so a job is ours only if its name is the tag."""

    job: int
    tasks: int
    tag: str
    user: str

    def __str__(self) -> str:
        return f"{self.job}-{self.tasks}-{self.tag}-{self.user}"

    @classmethod
    def parse(cls, text: str) -> "Reference | None":
        """None: it isn't one that this adapter ever gave."""
        found = _FORM.fullmatch(text)
        return cls(int(found[1]), int(found[2]), found[3], found[4]) if found else None

    def output(self, index: int, kind: str) -> str:
        """The name of a task's file of this kind (`out`, `err`, `exit`) in the tenant's working folder."""
        return output_name(self.tag, str(self.job), str(index), kind)


def output_name(tag: str, job: str, index: str, kind: str) -> str:
    """As `Reference.output`; job and index may be what Slurm will replace (`%A`, `%a`)."""
    return f"caravan-{tag}-{job}.{index}.{kind}"
