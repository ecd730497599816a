"""The lines of a script as options, in their order."""

import shlex
from collections.abc import Iterator
from typing import Final

from caravan.cli.sbatch.options import ALIAS, BARE, KNOWN, OPTIONAL, SHORT
from caravan.cli.sbatch.request import Note, Request, Written

MARK: Final = "#SBATCH"
LINE_CHARACTERS: Final = 16_384
"""To read a longer one takes time that grows with its square."""


def written(script: str, request: Request) -> Iterator[Written]:
    """The options in their order. A line is a comment, empty, or the first command. As by sbatch, a script with CR LF is refused."""
    command = False
    for number, text in enumerate(script.split("\n"), 1):
        if text.endswith("\r"):
            why = "the lines end in CR LF, which no shell takes; convert the file (dos2unix)"
            request.errors.append(Note(number, text.strip()[:80] or "an empty line", why))
            return
        if not text.startswith(MARK):
            command = command or text.strip()[:1] not in ("", "#")
        elif command:
            request.warnings.append(
                Note(number, text.strip(), "it stands after the first command, where sbatch doesn't read it")
            )
        elif len(text) > LINE_CHARACTERS:
            why = f"a line has at most {LINE_CHARACTERS:,} characters; put what is long into a file, or into the environment"
            request.errors.append(Note(number, f"{text[:40]}…", why))
        else:
            try:
                yield from _options(number, text[len(MARK) :])
            except ValueError as error:
                request.errors.append(Note(number, text.strip(), str(error)))


def _options(number: int, text: str) -> Iterator[Written]:
    """One line, as getopt_long(3) takes it: `--name=value`, `--name value`, `-n value`, `-nvalue`, an unambiguous beginning of a name."""
    splitter = shlex.shlex(text, posix=True)
    splitter.whitespace_split = True
    words = list(splitter)
    if words[:1] in (["hetjob"], ["packjob"]):
        raise ValueError("a job of several parts isn't possible here; submit each part as a job of its own")
    while words:
        word = words.pop(0)
        if word.startswith("--") and len(word) > 2:
            given, equals, value = word[2:].partition("=")
            name = _full(given)
            if equals and name in BARE:
                raise ValueError(f"--{name} takes no value")
            if not equals and name not in BARE | OPTIONAL:
                value = _next(words, f"--{name}")
            yield Written(number, name, value, f"--{name}" + (f"={value}" if value else ""))
        elif word.startswith("-") and len(word) > 1 and word[1] in SHORT:
            name, rest = SHORT[word[1]], word[2:]
            if name in BARE | OPTIONAL:
                words[:0] = [f"-{rest}"] if rest else []
                yield Written(number, name, "", word[:2])
            else:
                value = rest or _next(words, word)
                yield Written(number, name, value, f"{word[:2]} {value}")
        else:
            raise ValueError(f"{word!r} is no option of sbatch; correct or remove it")


def _full(given: str) -> str:
    found = {ALIAS.get(name, name) for name in KNOWN | ALIAS.keys() if name.startswith(given)}
    if given in KNOWN or given in ALIAS:
        return ALIAS.get(given, given)
    if len(found) == 1:
        return found.pop()
    if found:
        raise ValueError(f"--{given} may be " + ", ".join(f"--{name}" for name in sorted(found)) + "; write it out")
    raise ValueError(f"--{given} is no option of sbatch that is known here; correct or remove it")


def _next(words: list[str], option: str) -> str:
    if not words:
        raise ValueError(f"{option} needs a value")
    return words.pop(0)
