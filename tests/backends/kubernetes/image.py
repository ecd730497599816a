"""A container image made by hand: one static busybox and the names that it goes by."""

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

BUSYBOX = "caravan.test/busybox:1"
PAUSE = "caravan.test/pause:1"


def image(busybox: Path) -> bytes:
    """An archive as `docker save` writes it, of both names. Its containers sleep unless they are told what to do."""
    layer = _layer(busybox)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sleep", "2147483647"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [BUSYBOX, PAUSE], "Layers": ["layer.tar"]}]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        _file(tar, "layer.tar", layer)
        _file(tar, "config.json", json.dumps(config).encode())
        _file(tar, "manifest.json", json.dumps(manifest).encode())
    return archive.getvalue()


def _layer(busybox: Path) -> bytes:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name, mode in {"bin": 0o755, "etc": 0o755, "tmp": 0o1777}.items():
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            tar.addfile(folder)
        _file(tar, "bin/busybox", busybox.read_bytes(), 0o755)
        _file(tar, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        names = subprocess.run([busybox, "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        for name in names:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
    return layer.getvalue()


def _file(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    file = tarfile.TarInfo(name)
    file.size, file.mode = len(content), mode
    tar.addfile(file, io.BytesIO(content))
