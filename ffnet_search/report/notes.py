"""Notes and files of a study and its trials, as Optuna Dashboard reads them.

They are attributes of the study, since its trials are finished: under the keys where Optuna Dashboard reads both (its
`_note.py` and `artifact/_backend.py`). So a plain `optuna-dashboard sqlite:///STUDY --artifact-dir ARTIFACTS` shows
them too. What a user writes or uploads there stays: a note is replaced only while it reads as it was written here, and
the ids of files tell which are a user's.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ffnet_search.search.storage.attributes import Attributes, replacing_attributes

TRIAL_FILES = "dashboard:artifacts:"  # prefix of the files of trials in the study's attributes
STUDY_FILES = "artifacts:"
NOTE = re.compile(r"(dashboard(?::\d+)?):note_str:(\d+)")  # prefix of a note, and the place of one of its pieces
WRITTEN = "ffnet_search:"  # before the prefix of a note: the digest of its text as it was written here
STUDY_OPENING, TRIAL_OPENING = "# ", "On the front.\n"  # of the notes
NOTE_PIECE = 2045  # characters of a note in one attribute


class Notes:
    """Notes in Markdown, and files, of a study and its trials (by id in the storage), as attributes of the study."""

    def __init__(self, artifacts: Path, attributes: Attributes) -> None:
        self.artifacts, self.attributes = artifacts, attributes
        before = _notes(attributes.before)
        self._users = {prefix for prefix, text in before.items() if not _is_own(prefix, text, attributes.before)}
        for key in attributes.before:  # those of an earlier front are removed, as the dashboard spells it
            note = NOTE.fullmatch(key)
            if key.startswith((TRIAL_FILES, STUDY_FILES)) and _is_own_file(key.rpartition(":")[2]):
                attributes.new[key] = "null"
            elif note is not None and note[1] not in self._users:
                attributes.new[key] = ""

    def add_file(self, name: str, content: bytes, trial: int | None = None) -> str:
        """Store a file; return its id, made from its content: annotating the same run again changes nothing."""
        prefix = STUDY_FILES if trial is None else f"{TRIAL_FILES}{trial}:"
        id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{prefix} {name} {content.hex()}"))
        (self.artifacts / id).write_bytes(content)
        kind = "text/yaml" if name.endswith(".yaml") else mimetypes.guess_type(name)[0] or "application/octet-stream"
        described = {"artifact_id": id, "filename": name, "mimetype": kind, "encoding": None}
        self.attributes.new[f"{prefix}{id}"] = json.dumps(described)
        return id

    def add_note(self, text: str, trial: int | None = None) -> None:
        """Add a note in pieces, with a version, which the page takes as newer if the text changed; does nothing where
        the user has a note."""
        prefix = "dashboard" if trial is None else f"dashboard:{trial}"
        if prefix in self._users:
            return
        starts = range(0, len(text), NOTE_PIECE)
        pieces = {f"{prefix}:note_str:{i}": text[start : start + NOTE_PIECE] for i, start in enumerate(starts)}
        before = self.attributes.before
        version = int(str(before.get(f"{prefix}:note_ver", 0)))
        if any(before.get(key) != piece for key, piece in pieces.items()):
            version += 1
        self.attributes.new.update({f"{prefix}:note_ver": version, f"{WRITTEN}{prefix}": _digest(text), **pieces})


def _notes(attributes: Mapping[str, object]) -> dict[str, str]:
    """The notes among the attributes of a study: prefix -> text."""
    pieces: dict[str, dict[int, str]] = {}
    for key, piece in attributes.items():
        if note := NOTE.fullmatch(key):
            pieces.setdefault(note[1], {})[int(note[2])] = str(piece)
    return {prefix: "".join(found[place] for place in sorted(found)) for prefix, found in pieces.items()}


def _is_own(prefix: str, text: str, attributes: Mapping[str, object]) -> bool:
    """True for a note that was written here, and has not been edited since."""
    written = attributes.get(f"{WRITTEN}{prefix}")
    if written is None:  # before digests were kept, or by the user
        return not text or text.startswith(STUDY_OPENING if prefix == "dashboard" else TRIAL_OPENING)
    return not text or written == _digest(text)


def _is_own_file(id: str) -> bool:
    """True for the id of a file that was stored here: those of the dashboard are random."""
    try:
        return uuid.UUID(id).version == 5
    except ValueError:
        return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def annotating(study: Path, artifacts: Path) -> Iterator[Notes]:
    """Yield the notes of a study; those added in the block replace its own of an earlier front at its end.

    Raises SweepError if the study cannot be read or written."""
    artifacts.mkdir(parents=True, exist_ok=True)
    for path in artifacts.iterdir():
        if _is_own_file(path.name):
            path.unlink()
    with replacing_attributes(study) as attributes:
        yield Notes(artifacts, attributes)
