"""What is put where a job's output was, for the platform to read: links to what isn't the tenant's, and what can't be read at all."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Plant:
    """Shell commands. `{out}` and `{err}` are the job's output, `{output}` and `{folder}` another's, `{root}` a file that is root's."""

    does: str
    took: str
    """Holds, for root, once it is there."""
    by_root: bool = False
    """Else the tenant does it. What root did is undone once the job has ended: the tenant could read it by itself."""
    then: str = "true"
    """What the job does once it has been read so, before it ends."""


def linked(to: str) -> Plant:
    """Both outputs are symlinks to it."""
    return Plant(
        f"ln -sfn {to} {{out}}; ln -sfn {to} {{err}}",
        f'test "$(readlink {{out}})" = {to} && test "$(readlink {{err}})" = {to}',
    )


PLANTS: Final = {
    "a symlink to the other's output": linked("{output}"),
    "a symlink to a file of root's": linked("{root}"),
    "a symlink to the other's folder": linked("{folder}"),
    # the kernel lets no user do that to another's file, but where fs.protected_hardlinks is 0 and the folder is open
    "a hard link to the other's output": Plant(
        "ln -f {output} {out}; ln -f {output} {err}", "test {out} -ef {output} && test {err} -ef {output}", by_root=True
    ),
    "a symlink where its exit code goes": Plant(
        "ln -sfn {output} $(echo {out} | sed 's/out$/exit/')",
        "test \"$(readlink $(echo {out} | sed 's/out$/exit/'))\" = {output}",
        then="kill -9 $PPID",
    ),
    "a pipe that nobody writes to": Plant("rm {out} {err}; mkfifo {out} {err}", "test -p {out} && test -p {err}"),
}
BRIEFLY: Final = ("a symlink to the other's output", "a symlink to a file of root's")
"""Of those, in the short form."""


def waiting(word: str, mark: str, then: str) -> str:
    """A job's script that says the word, tells in the file `mark` where its output is, and goes on once that is gone."""
    return (
        f"#!/bin/sh\nprintf '%s%s\\n' {word[:12]} {word[12:]}\n"
        f"readlink /proc/$$/fd/1 /proc/$$/fd/2 >{mark}.part && mv {mark}.part {mark}\n"
        f"while test -e {mark}; do sleep 0.2; done\n{then}\n"
    )
