"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from the "python version" on disk, a folder or a tar.gz.

Other content in the same layout is accepted: its fingerprint differs. Only a download must have the official checksum.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import os
import pickle
import tarfile
import warnings
import zlib
from collections.abc import Container, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from ffnet_search.config.schema import DataSection
from ffnet_search.data.dataset import DataSet, InMemory, Source, must_match
from ffnet_search.data.layout import given_path
from ffnet_search.errors import SweepError
from ffnet_search.files.bounded import read_bounded
from ffnet_search.files.download import download
from ffnet_search.space.input import Input

SIDE = 32  # pixels
ROW = 3 * SIDE**2  # bytes of an image: channel after channel, row after row
MAX_BYTES = 1_000_000_000  # of an archive, which has 170 MB
UNPACKED = 1 << 30  # bytes of an archive, and of one file: five times CIFAR's


class Cifar(DataSet):
    """Both CIFARs. `data.path` is the folder, the archive, or a folder that holds either."""

    tasks = ("classification",)
    options = ("path", "download")

    folder: ClassVar[str]
    archive: ClassVar[str]
    url: ClassVar[str]
    md5: ClassVar[str]  # of the archive
    classes: ClassVar[int]
    train_files: ClassVar[tuple[str, ...]]
    test_file: ClassVar[str]
    meta_file: ClassVar[str]  # has the names of the classes
    label_key: ClassVar[bytes]
    names_key: ClassVar[bytes]

    def read(self, section: DataSection, input: Input) -> Source:
        place = self._find(section)
        if not place.exists():
            download(self.url, place, field="data.download", max_bytes=MAX_BYTES, checksum=f"md5:{self.md5}")
        content = self._read_files(place)
        self._must_be_complete(place, content)
        train = self._images([self._table(place, name, content[name]) for name in self.train_files])
        test = self._images([self._table(place, self.test_file, content[self.test_file])])
        digest = hashlib.sha256(f"{train.digest()} {test.digest()}".encode()).hexdigest()
        return Source(train, test, self._class_names(place, content), digest)

    def check(self, section: DataSection, input: Input) -> None:
        must_match(section, input, channels=3, resolution=SIDE, outputs=self.classes)
        place = self._find(section)
        if place.is_dir():
            self._must_be_complete(place, os.listdir(place))
        elif place.exists() and not (place.is_file() and tarfile.is_tarfile(place)):
            raise SweepError(f"data.path: {place} must be a tar archive, but is something else; download it again")

    def _must_be_complete(self, place: Path, names: Container[str]) -> None:
        wanted = (*self.train_files, self.test_file)
        missing = [name for name in wanted if name not in names]
        if missing:
            raise SweepError(f"data.path: {place} must hold {', '.join(wanted)}, but lacks {', '.join(missing)}")

    def _find(self, section: DataSection) -> Path:
        """The folder of the files, or the archive, which may have to be downloaded first. Raises SweepError."""
        path = given_path(section, f"the folder {self.folder} or {self.archive}")
        if path.is_file():
            return path
        for place in (path, path / self.folder):
            if any((place / name).exists() for name in (*self.train_files, self.meta_file)):
                return place
        archive = path if path.name.endswith((".tar.gz", ".tgz")) else path / self.archive
        if not archive.exists() and not section.download:
            problem = "holds neither" if path.exists() else "no such folder or file exists"
            raise SweepError(
                f"data.path: {section.path} must be or hold the folder {self.folder} or {self.archive}, but {problem}; "
                "correct data.path, or set data.download: true"
            )
        return archive

    def _read_files(self, place: Path) -> dict[str, bytes]:
        """File name -> bytes, of those that exist in a folder or an archive."""
        names = (*self.train_files, self.test_file, self.meta_file)
        try:
            if place.is_dir():
                return {name: read_bounded(place / name, UNPACKED) for name in names if (place / name).is_file()}
            content = {}
            left = UNPACKED
            with tarfile.open(place) as archive:
                for member in archive:  # in one pass: going back in a gzip file means to begin again
                    left -= member.size
                    if left < 0:  # before it is passed over, which unpacks it
                        raise tarfile.TarError(f"it unpacks to more than {UNPACKED >> 20:,} MiB")
                    name = PurePosixPath(member.name).name
                    file = archive.extractfile(member) if member.isfile() else None  # links are passed over
                    if name in names and file is not None:
                        content[name] = file.read()
            return content
        except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
            raise SweepError(f"data.path: {place} cannot be read ({error}); download it again") from None

    def _table(self, place: Path, name: str, content: bytes) -> tuple[Any, Any]:
        """The pixels (rows of 3072 bytes) and labels of one file. Raises SweepError if it has anything else."""
        table = _load(place / name, content)
        pixels, labels = _array(table.get(b"data")), _array(table.get(self.label_key))
        rows = pixels.shape[1:] == (ROW,) and pixels.dtype == np.uint8
        if not rows or labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu" or not len(labels):
            raise SweepError(
                f"data.path: {place / name} must hold 'data' (uint8, images x {ROW}) and as many integers under "
                f"{self.label_key.decode()!r}, but holds {pixels.dtype} {pixels.shape} and {labels.dtype} "
                f"{labels.shape}"
            )
        if labels.min() < 0 or labels.max() >= self.classes:
            raise SweepError(
                f"data.path: {place / name} must have labels in 0..{self.classes - 1}, "
                f"but has {labels.min()}..{labels.max()}"
            )
        return pixels, labels

    def _images(self, tables: list[tuple[Any, Any]]) -> InMemory:
        rows = np.concatenate([pixels for pixels, _ in tables])
        labels = np.concatenate([labels for _, labels in tables]).astype(np.int64)
        return InMemory(rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1), labels)

    def _class_names(self, place: Path, content: Mapping[str, bytes]) -> tuple[str, ...]:
        meta = _load(place / self.meta_file, content[self.meta_file]) if self.meta_file in content else {}
        names = meta.get(self.names_key, [])
        if not isinstance(names, list) or len(names) != self.classes:
            return tuple(str(label) for label in range(self.classes))
        return tuple(name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names)


class Cifar10(Cifar):
    """`data.name: cifar10`."""

    folder = "cifar-10-batches-py"
    archive = "cifar-10-python.tar.gz"
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    md5 = "c58f30108f718f92721af3b95e74349a"
    classes = 10
    train_files = tuple(f"data_batch_{number}" for number in range(1, 6))
    test_file = "test_batch"
    meta_file = "batches.meta"
    label_key = b"labels"
    names_key = b"label_names"


class Cifar100(Cifar):
    """`data.name: cifar100`, with the 100 fine labels."""

    folder = "cifar-100-python"
    archive = "cifar-100-python.tar.gz"
    url = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    classes = 100
    train_files = ("train",)
    test_file = "test"
    meta_file = "meta"
    label_key = b"fine_labels"
    names_key = b"fine_label_names"


class _ArrayUnpickler(pickle.Unpickler):
    """Reads NumPy arrays in plain containers, written by Python 2 or 3, and refuses any other name in a pickle."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return codecs.encode
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]  # its place, as that of the next, depends on the version of NumPy
        if module in ("numpy.core.numeric", "numpy._core.numeric") and name == "_frombuffer":
            return np.empty(0).__reduce_ex__(5)[0]
        raise pickle.UnpicklingError(f"it names {module}.{name}, and only NumPy arrays are allowed")


def _array(value: Any) -> np.ndarray[Any, Any]:
    """An array of `value`, empty if it is ragged."""
    try:
        return np.asarray(value)
    except ValueError:
        return np.empty(0)


def _load(path: Path, content: bytes) -> dict[bytes, Any]:
    """The table in a pickle. Raises SweepError if there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, about the dtypes of older versions
            table = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a broken pickle can raise anything
        raise SweepError(f"data.path: {path} is not a file of CIFAR's python version: {error}") from None
    if not isinstance(table, dict):
        raise SweepError(f"data.path: {path} must hold a dict, but holds {type(table).__name__}")
    return {key.encode() if isinstance(key, str) else key: value for key, value in table.items()}
