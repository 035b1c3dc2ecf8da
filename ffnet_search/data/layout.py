"""Folders of images: which splits there are, which classes, and which files are images. No image is opened.

Splits are found by the names of folders in any spelling: train, val or valid, test. Links to folders are followed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ffnet_search.config.files import expanded
from ffnet_search.config.schema import DataSection
from ffnet_search.data.image_file import DRAWN, file_bytes
from ffnet_search.errors import SweepError, nearest_folder
from ffnet_search.files.bounded import parse_json, read_bounded
from ffnet_search.formatting import first_few
from ffnet_search.strict_yaml import YAML_BYTES

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLIT_NAMES = {  # of folders, in lower case -> the split that they hold
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}
HIDDEN = (".", "__MACOSX", "@eaDir", "$RECYCLE.BIN")  # what Macs, storage systems and Windows put into folders
CLASS_FILES = ("classes.json", "classes.txt")  # names of the classes, beside images: a list, or one a line
LINKED = 100  # paths of links to one folder, at most
STUBS = ("BUFR", "GRIB", "HDF5", "MPEG")  # Pillow knows these formats by name, and reads no pixels of them


@dataclass(frozen=True)
class Layout:
    """The folders of the splits that exist, train first, and sentences on what is left out."""

    root: Path
    splits: Mapping[str, Path]
    left_out: tuple[str, ...] = ()

    @property
    def train(self) -> Path:
        return self.splits[TRAIN]


@lru_cache
def extensions() -> frozenset[str]:
    """The suffixes, in lower case, of the formats that Pillow reads here: they depend on how it was built."""
    from PIL import Image

    formats = {name for name in Image.OPEN if name not in (*DRAWN, *STUBS)} if Image.registered_extensions() else set()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats)


def given_path(section: DataSection, content: str) -> Path:
    """The value of `data.path`. Raises SweepError, which says what it must be by `content`, if it is not given."""
    if section.path is None:
        raise SweepError(f"data.path must be given for {section.name}: {content}")
    return expanded(section.path)


def data_root(section: DataSection, content: str) -> Path:
    """The folder of `data.path`, which holds `content`. Raises SweepError if there is none."""
    root = given_path(section, f"the folder with {content}")
    if not os.path.isdir(root):  # a name that no folder can have is none
        found = "is a file" if os.path.exists(root) else f"there is no such folder{nearest_folder(root)}"
        raise SweepError(f"data.path: {root} must be a folder with {content}, but {found}")
    return root


def find_layout(section: DataSection) -> Layout:
    """The splits of a folder with one folder per class. Raises SweepError if they are not clear."""
    root = data_root(section, "one folder per class")
    named = split_folders(root)
    train = named.get(TRAIN)
    labelled = {split: folder for split, folder in named.items() if subfolders(folder)}
    if train is None and labelled:
        found = ", ".join(f"{folder.name}/" for folder in labelled.values())
        raise SweepError(f"data.path: {root} must hold train/ beside {found}, but does not; rename or move them")
    if train is not None and TRAIN not in labelled:
        if labelled or set(subfolders(root)) == {folder.name for folder in named.values()}:
            raise SweepError(
                f"data.path: {train} must hold one folder per class, but holds none; put the images into folders named "
                "after their classes"
            )
        return Layout(root, {TRAIN: root})  # a class that is called train
    if train is None:
        return Layout(root, {TRAIN: root})
    unlabelled = [folder for split, folder in named.items() if split not in labelled]
    left_out = [f"{folder}/ holds no folder per class, so it is left out" for folder in unlabelled]
    others = sorted(set(subfolders(root)) - {folder.name for folder in named.values()})
    if others:
        left_out.append(f"left out, beside {train.name}/: {first_few([f'{name}/' for name in others])}")
    order = (TRAIN, VALIDATION, TEST)
    return Layout(root, {split: labelled[split] for split in order if split in labelled}, tuple(left_out))


def split_folders(root: Path) -> dict[str, Path]:
    """Split -> its folder below `root`, if that exists. Raises SweepError if two folders are named for one split."""
    found: dict[str, Path] = {}
    for name in subfolders(root) if os.path.isdir(root) else ():
        split = SPLIT_NAMES.get(name.lower())
        if split in found:
            raise SweepError(
                f"data.path: {root} must hold one folder for {split}, but holds {found[split].name}/ and {name}/; "
                "merge or rename them"
            )
        if split is not None:
            found[split] = root / name
    return found


def subfolders(folder: Path) -> list[str]:
    """The sorted names of the folders in a folder, hidden ones aside."""
    return sorted(entry.name for entry in os.scandir(folder) if _is_folder(entry) and not entry.name.startswith(HIDDEN))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """True for a folder, and a link to one; a link that leads in a circle leads to none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def find_classes(folder: Path) -> tuple[str, ...]:
    """The sorted names of the class folders. Raises SweepError for fewer than two."""
    names = subfolders(folder)
    if len(names) < 2:
        raise SweepError(f"data.path: {folder} must hold a folder per class, two at least, but holds {names or 'none'}")
    return in_utf8(names, folder)


def in_utf8(names: Iterable[str], where: Path) -> tuple[str, ...]:
    """The names of classes, which stand in files for other programs. Raises SweepError if one is not in UTF-8: it was
    written in another encoding, or this process reads no other."""
    names = tuple(names)
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise SweepError(
                f"data.path: {where} must hold classes with names in UTF-8, but holds {name!r}; rename it or, if other "
                "programs show it rightly, set LC_ALL=C.UTF-8"
            ) from None
    return names


@dataclass
class Found:
    """The files below a folder: images by their names relative to it, sorted, and how many others by suffix."""

    folder: Path
    images: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    @property
    def paths(self) -> list[Path]:
        return [self.folder / name for name in self.images]


def find_images(folder: Path) -> Found:
    """The images below `folder`, through links to folders too; a link back to a folder above is not followed."""
    found, known = Found(folder), extensions()
    for place, names in _walk(str(folder), (), Counter()):
        relative = os.path.relpath(place, folder).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in known:
                found.images.append(prefix + name)
            else:
                found.others[suffix or "without a suffix"] += 1
    found.images.sort()
    return found


def by_name(found: Found) -> dict[str, Path]:
    """The images by their relative names without extension. Raises SweepError if two have one name."""
    named: dict[str, Path] = {}
    for path in found.paths:
        name = path.relative_to(found.folder).with_suffix("").as_posix()
        if name in named:
            raise SweepError(f"data.path: {path} and {named[name]} must not have the same name; remove or rename one")
        named[name] = path
    return named


def _walk(place: str, above: tuple[str, ...], visits: Counter[str]) -> Iterator[tuple[str, list[str]]]:
    """Folder after folder with the names of its files. `above`: the real paths of the folders that it is in; `visits`:
    of each real path so far. Folders that are linked into each other have paths without number."""
    real = os.path.realpath(place)
    if real in above:
        return
    visits[real] += 1
    if visits[real] > LINKED:
        raise SweepError(f"data.path: {place} is found by more than {LINKED} paths of links; remove some of them")
    files: list[str] = []
    folders: list[str] = []
    try:
        entries = sorted(os.scandir(place), key=lambda entry: entry.name)
    except OSError as error:
        raise SweepError(f"data.path: {place} cannot be read ({error.strerror}); restore or remove it") from None
    for entry in entries:
        if not entry.name.startswith(HIDDEN):
            (folders if _is_folder(entry) else files).append(entry.name)
    yield place, files
    for name in folders:
        yield from _walk(os.path.join(place, name), (*above, real), visits)


def image_bytes(file: Path) -> int:
    """The bytes of an image's file. Raises SweepError for a link to nothing, a pipe or a socket."""
    try:
        return file_bytes(file)
    except OSError as error:
        if error.errno is None:
            raise SweepError(
                f"data.path: {file} must be a file, but is a pipe, a socket or a device; remove it"
            ) from None
        kind = "is a link that leads nowhere" if os.path.islink(file) else "cannot be read"
        raise SweepError(f"data.path: {file} {kind} ({error.strerror}); restore or remove it") from None


def counted(numbers: Mapping[str, int]) -> str:
    """Numbers of files by suffix, the largest first: `36 .png, 4 .jpg`."""
    ordered = sorted(numbers.items(), key=lambda one: (-one[1], one[0]))
    return first_few([f"{count:,} {suffix}" for suffix, count in ordered], 10)


def class_names(root: Path, count: int) -> tuple[str, ...]:
    """The names of the classes, in classes.json or classes.txt beside the images; without them, their ids."""
    for path in (root / name for name in CLASS_FILES):
        if path.is_file():
            try:
                text = read_bounded(path, YAML_BYTES).decode("utf-8-sig")
                names = parse_json(text) if path.suffix == ".json" else text.replace("\r", "\n").split("\n")
                if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                    raise ValueError("no list of names")
            except (OSError, ValueError) as error:
                raise SweepError(f"data.path: {path} must be a list of the classes' names, but: {error}") from None
            return in_utf8((name.strip() for name in names if name.strip()), path)
    return tuple(str(label) for label in range(count))
