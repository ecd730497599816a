"""Files that jobs leave in their tenant's working folder, read without following what the tenant may have put in the way. Blocking."""

import os
import stat
from pathlib import Path

from services.broker.adapters.port import LogBytes, Unavailable
from services.broker.adapters.slurm.dialect import Exit

EXIT_BYTES = 16


def read(folder: Path, name: str, offset: int, limit: int, *, ended: bool) -> LogBytes:
    """Bytes of the file `name` in a tenant's folder; a negative offset counts from the end.

    Only a regular file of the folder's own owner is read: no link to elsewhere, no pipe, no other's file.
    Raises FileNotFoundError: there is none (yet). Unavailable: the folder can't be read.
    """
    try:
        inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"the working folder {folder} can't be read here: {error.strerror}") from error
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=inside)
    except FileNotFoundError:
        raise FileNotFoundError(f"no output {name} yet") from None
    except OSError as error:
        raise Unavailable(f"the output {name} can't be read here: {error.strerror}") from error
    else:
        try:
            return _read(file, os.fstat(inside).st_uid, offset, limit, ended)
        except OSError as error:
            raise Unavailable(f"the output {name} can't be read here: {error.strerror or error}") from error
        finally:
            os.close(file)
    finally:
        os.close(inside)


def _read(file: int, owner: int, offset: int, limit: int, ended: bool) -> LogBytes:
    there = os.fstat(file)
    if not stat.S_ISREG(there.st_mode) or there.st_uid != owner:
        raise OSError("it isn't a file of the tenant's own")
    size = there.st_size
    at = max(0, size + offset) if offset < 0 else min(offset, size)
    data = os.pread(file, min(limit, size - at), at)
    return LogBytes(data, at, size, ended and at + len(data) == size)


def exit_left(folder: Path, name: str) -> Exit | None:
    """How the wrapped script says that it ended: an exit code, or a signal as a negative number. None: it left nothing like it."""
    try:
        number = int(read(folder, name, 0, EXIT_BYTES, ended=True).data)
    except (Unavailable, FileNotFoundError, ValueError):
        return None
    return Exit(None, -number) if number < 0 else Exit(number, None)
