"""A Python that runs where nothing but a shell is: this interpreter, the libraries that it's linked to, and its own in one archive."""

import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path


def put(folder: Path) -> None:
    """In the folder, wherever it's mounted and whoever runs it, `./ld --library-path . ./python3 -S` is a Python if it is PYTHONHOME."""
    (folder / "lib").mkdir(parents=True)
    program = Path(sys.executable).resolve()
    shutil.copy(program, folder / "python3")
    linked = subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    for library in re.findall(r"(/\S+) \(0x", linked):
        shutil.copy(library, folder / ("ld" if "/ld-linux" in library else Path(library).name))
    name = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    modules = Path(sysconfig.get_path("stdlib"))
    with zipfile.ZipFile(folder / "lib" / name, "w") as archive:
        for part in ("*.py", "encodings/*.py", "json/*.py", "re/*.py", "collections/*.py"):
            for file in modules.glob(part):
                archive.write(file, file.relative_to(modules))
