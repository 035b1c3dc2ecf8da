"""Image files with names and targets, split and opened as a `Source`: the common part of the data sets on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ffnet_search.config.schema import DataSection
from ffnet_search.data.dataset import (
    TEST_SHARE,
    Images,
    Indices,
    InMemory,
    OnDemand,
    Pixels,
    Source,
    hold_out,
    split_by_name,
)
from ffnet_search.data.decoder import Decoder, OnDisk
from ffnet_search.data.layout import TEST, TRAIN, VALIDATION, image_bytes
from ffnet_search.data.unreadable import Unreadable, must_be_left, refuse_unreadable, say_left_out
from ffnet_search.space.input import Input
from ffnet_search.tasks.base import Targets, Task, task_of

MIB = 1 << 20


@dataclass(frozen=True)
class Files:
    """Image files of one split. `names`: what splits depend on, such as CLASS/FILE, whatever folder they lie in.

    `indices_N`: of each file among those of all splits."""

    paths: tuple[str, ...]
    names: tuple[str, ...]
    targets_N: Targets
    indices_N: Indices = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    def part(self, indices: Indices) -> Files:
        """The files at these indices, in this order."""
        chosen = indices.tolist()
        paths, names = (tuple(all[index] for index in chosen) for all in (self.paths, self.names))
        return Files(paths, names, self.targets_N[indices], self.indices_N[indices] if len(self.indices_N) else indices)


def files_digest(names: Iterable[str], paths: Iterable[str]) -> str:
    """The sha256 of names and sizes: cheap, and the same on every machine."""
    sha = hashlib.sha256()
    for name, path in zip(names, paths, strict=True):
        sha.update(b"%b\0%d\n" % (name.encode(errors="surrogateescape"), image_bytes(Path(path))))
    return sha.hexdigest()


def summary(names: Sequence[str], paths: Sequence[str]) -> str:
    """A summary of files: their number, and the first digits of their digest."""
    return f"{len(names)} files, {files_digest(names, paths)[:8]}"


def open_files(
    parts: Mapping[str, Files],
    outputs: tuple[str, ...],
    section: DataSection,
    input: Input,
    digest: str,
) -> Source:
    """The files of train and, where they exist, of validation and test, as one source; without test, a fifth of train
    is held out. Images are resized whole, or first cut to the shape of the input, as the task says.

    `digest`: of all of them. Raises SweepError if files cannot be read, unless the section skips them."""
    task, decoder = task_of(input), _decoder(parts, section, input)
    pixels_NHWC, broken = _decode(decoder, section)
    names: tuple[str, ...] = ()
    opened: dict[str, Images] = {}
    for split, files in hold_out_test(_readable(parts, broken), task).items():
        indices = files.indices_N
        if pixels_NHWC is not None:
            opened[split] = InMemory(pixels_NHWC[indices], files.targets_N)
        else:
            opened[split] = OnDisk(decoder, indices, files.targets_N)
        if split in parts or VALIDATION in parts:  # else too few images for data.validation, which is refused
            must_be_left(len(indices), split)
        names = files.names if split == TRAIN else names
    return Source(opened[TRAIN], opened[TEST], outputs, digest, opened.get(VALIDATION), names)


def _decoder(parts: Mapping[str, Files], section: DataSection, input: Input) -> Decoder:
    """The decoder of the files of all splits, in their order."""
    paths = tuple(path for files in parts.values() for path in files.paths)
    mode, crop = "L" if input.channels == 1 else "RGB", section.augment.resized_crop
    return Decoder(paths, input.size, mode, section.workers, crop, whole=task_of(input).whole)


def _decode(decoder: Decoder, section: DataSection) -> tuple[Pixels | None, Collection[int]]:
    """The pixels of all files, where memory holds them (zeros for unreadable ones), and the unreadable ones, if they
    are known by now. Raises SweepError if there are any that the section does not skip."""
    everything = range(len(decoder.files))
    fits, skips = _fit(decoder, section), section.unreadable == "skip"
    pixels: list[Pixels] = []
    broken: dict[int, Unreadable] = {}
    if fits and not decoder.resized_crop:
        width, height = decoder.size
        blank = np.zeros((height, width, len(decoder.mode)), np.uint8)
        for index, item in decoder.decode_all(everything):
            if isinstance(item, Unreadable):
                broken[index] = item
            pixels.append(blank if isinstance(item, Unreadable) else item)
    elif skips:
        broken = decoder.unreadable(everything)
    if not skips:
        refuse_unreadable(list(broken.values()))
    else:
        say_left_out(list(broken.values()))
    return np.stack(pixels) if pixels else None, broken


def _fit(decoder: Decoder, section: DataSection) -> bool:
    return len(decoder.files) * decoder.image_bytes <= section.in_memory_mb * MIB


def files_on_demand(parts: Mapping[str, Files], section: DataSection, input: Input) -> OnDemand | None:
    """The files that `open_files` opens in training alone."""
    decoder = _decoder(parts, section, input)
    if section.unreadable == "skip" or _fit(decoder, section):
        return None
    return OnDemand(len(decoder.files), lambda indices: decoder.unreadable(indices).values())


def _readable(parts: Mapping[str, Files], broken: Collection[int]) -> dict[str, Files]:
    """The files of each split but the broken ones, with their indices among all files."""
    readable: dict[str, Files] = {}
    start = 0
    for split, files in parts.items():
        indices = np.arange(start, start + len(files.paths))
        kept = np.array([index not in broken for index in indices.tolist()], bool)
        readable[split] = replace(files, indices_N=indices).part(np.flatnonzero(kept))
        start += len(files.paths)
    return readable


def hold_out_test(parts: Mapping[str, Files], task: Task) -> dict[str, Files]:
    """The splits with one for testing: where there is none, a fifth of train, by the names of its files."""
    if TEST in parts:
        return dict(parts)
    train = parts[TRAIN]
    rest, held_out = split_by_name(train.names, task.strata(train.targets_N), TEST_SHARE, "test")
    return {**parts, TRAIN: train.part(rest), TEST: train.part(held_out)}


def divide(parts: Mapping[str, Files], task: Task, share: float, seed: int) -> dict[str, Files]:
    """The splits as a run with that `data.validation` and seed has them, but for files that cannot be read."""
    splits = hold_out_test(parts, task)
    if VALIDATION in splits:
        return splits
    train = splits[TRAIN]
    rest, held_out = hold_out(train.names, task.strata(train.targets_N), share, seed)
    return {**splits, TRAIN: train.part(rest), VALIDATION: train.part(held_out)}
