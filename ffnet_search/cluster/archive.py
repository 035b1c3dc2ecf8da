"""A sweep and all code that it needs as one file, which the head of a cluster runs.

`ray submit FILE SCRIPT` uploads SCRIPT and nothing else, so after an edit of FILE the head would run the old sweep, and
workers old code. Here SCRIPT is a zip archive that holds all code and the sweep, and hands the code to every node.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import yaml

import ffnet_search
from ffnet_search.cluster.user_code import user_code
from ffnet_search.config.sweep import Sweep

# What the head runs: unpacked once per content, since Ray can hand a folder to its workers, but not a part of a zip.
MAIN = """
import hashlib, os, shutil, sys, tempfile, zipfile
archive = os.path.abspath(sys.argv[0])
with open(archive, "rb") as file:
    name = hashlib.sha256(file.read()).hexdigest()[:16]
cache = os.path.expanduser("~/.cache/ffnet-search")
folder = os.path.join(cache, name)
if not os.path.isdir(folder):
    os.makedirs(cache, exist_ok=True)
    scratch = tempfile.mkdtemp(dir=cache)
    with zipfile.ZipFile(archive) as content:
        content.extractall(scratch)
    try:
        os.replace(scratch, folder)
    except OSError:
        if not os.path.isdir(folder):
            raise
        shutil.rmtree(scratch)  # another submission has unpacked the same content meanwhile
sys.path.insert(0, folder)
from pathlib import Path
from ffnet_search.cli.app import on_head
on_head(Path(folder) / "SWEEP.yaml")
"""


def pack(sweep: Sweep, folder: Path) -> Path:
    """Write an archive that `python NAME-DIGEST.pyz` runs: the package, user-supplied code, the sweep and its space.

    The same content gives the same bytes, and so the same name."""
    plain = sweep.model_dump(mode="json")
    files = {"__main__.py": MAIN.encode(), "SWEEP.yaml": yaml.safe_dump(plain, sort_keys=False).encode()}
    for source in (Path(ffnet_search.__file__).parent, *user_code(plain)):
        files |= {path.relative_to(source.parent).as_posix(): path.read_bytes() for path in _files(source)}
    digest = hashlib.sha256(b"".join(name.encode() + content for name, content in sorted(files.items()))).hexdigest()
    archive = folder / f"{sweep.name}-{digest[:12]}.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in sorted(files.items()):
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)  # ZipInfo: of no date
    return archive


def _files(source: Path) -> list[Path]:
    """The files of a module or a package."""
    if source.is_file():
        return [source]
    return [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
