"""Bytecode of what proofs and tests start, also where the environment lets none be written, as that of many container images does."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept() -> Iterator[None]:
    """Programs started in the block share a folder of bytecode, which is removed afterwards. Without it each of them compiles all that it
    imports: seconds for an agent, and most of the time of what starts a platform again and again.
    """
    forbidden = os.environ.pop("PYTHONDONTWRITEBYTECODE", "")
    if not forbidden:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="caravan-bytecode-") as folder:
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        try:
            yield
        finally:
            del os.environ["PYTHONPYCACHEPREFIX"]
            os.environ["PYTHONDONTWRITEBYTECODE"] = forbidden
