"""Notes and files at the trials of the front, for Optuna Dashboard.

Notes and files are attributes of the study, since its trials are finished: under the keys where Optuna Dashboard reads
both (its `_note.py` and `artifact/_backend.py`). So a plain `optuna-dashboard sqlite:///STUDY --artifact-dir ARTIFACTS`
shows them too. What a user writes or uploads there stays: a note is replaced only while it reads as it was written
here, and the ids of files tell which are a user's. An infeasible architecture has no values and the state pruned: the
dashboard, which does not know Optuna 5's constraints, cannot show it on the front.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from ffnet_search.config.start import ARCHITECTURE
from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import CARD, ExportedNetwork, read_exported
from ffnet_search.files.bounded import read_bounded
from ffnet_search.formatting import code_span, markdown
from ffnet_search.metrics import INHERITED
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.progress import say
from ffnet_search.report.architecture_svg import draw
from ffnet_search.report.data import figures, front_columns
from ffnet_search.search.storage.attributes import Attributes, replacing_attributes
from ffnet_search.search.storage.read_only import readable_study
from ffnet_search.search.storage.study import read_records
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import find_task

TRIAL_FILES = "dashboard:artifacts:"  # prefix of the files of trials in the study's attributes
STUDY_FILES = "artifacts:"
NOTE = re.compile(r"(dashboard(?::\d+)?):note_str:(\d+)")  # prefix of a note, and the place of one of its pieces
WRITTEN = "ffnet_search:"  # before the prefix of a note: the digest of its text as it was written here
REPORT_BYTES = 1 << 26  # of a report, which is some 1 MB
STUDY_OPENING, TRIAL_OPENING = "# ", "On the front.\n"  # of the notes
NOTE_PIECE = 2045  # characters of a note in one attribute
MOST = 50  # trials with notes: Optuna Dashboard reads all notes for every trial of the study


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


@contextmanager
def annotated_study(sweep: Sweep) -> Iterator[tuple[Path, Path]]:
    """The run's study with notes, and the folder of its files: copies until the block ends where the run cannot be
    written. Raises SweepError if there is no study."""
    with readable_study(sweep.files.study) as study:
        if study == sweep.files.study:
            artifacts = sweep.files.artifacts
        else:
            artifacts = study.parent / sweep.files.artifacts.name
            say(f"{sweep.files.folder} cannot be written: notes and what you change last until the dashboard ends")
        annotate_study(sweep, study, artifacts)
        yield study, artifacts


def annotate_study(sweep: Sweep, study: Path | None = None, artifacts: Path | None = None) -> None:
    """Write notes and files into the run's study, or a copy of it. Raises SweepError if there is no study."""
    records = [record for record in read_records(sweep.files.study) if record.state == "evaluated"]
    ids = {record.key: record.id for record in records}
    front = pareto_front([record.candidate(sweep.search_space) for record in records], sweep.search.directions)
    exported = {network.key: network for network in read_exported(sweep.files.pareto) if network.key in ids}
    exported_first = sorted(front, key=lambda candidate: candidate.key not in exported)
    with annotating(study or sweep.files.study, artifacts or sweep.files.artifacts) as notes:
        report, link = sweep.files.report, ""
        with suppress(OSError, ValueError):  # there is none, or it is odd
            id = notes.add_file(report.name, read_bounded(report, REPORT_BYTES))
            link = f"**[Open the report](/artifacts/{notes.attributes.study_id}/{id})** (also {code_span(report)}).\n\n"
        notes.add_note(f"{STUDY_OPENING}{sweep.name}\n\n{link}{_study_text(sweep, front, list(exported.values()))}")
        for candidate in exported_first[:MOST]:
            trial, network = ids[candidate.key], exported.get(candidate.key)
            for name, content in _trial_files(candidate, network).items():
                notes.add_file(name, content, trial)
            notes.add_note(_trial_text(sweep, candidate, network), trial)


def _study_text(sweep: Sweep, front: Sequence[Candidate], exported: Sequence[ExportedNetwork]) -> str:
    table = f"The exported networks:\n\n{_table(sweep, exported)}" if exported else "Nothing is exported yet.\n"
    keys = ", ".join(code_span(candidate.key) for candidate in front)
    return (
        f"{table}\nThe front ({len(front)} candidates, best first): {keys}. Their trials have a note, and files of the "
        f"network as artifacts.\n\nLimits: {sweep.search.limits}. Architectures beyond them were never evaluated: they "
        "have no values, and are the trials that are *pruned*.\n"
    )


def _table(sweep: Sweep, exported: Sequence[ExportedNetwork]) -> str:
    """Markdown: a table of FFNets whose latency was predicted, else a list."""
    if "predicted_ms" not in exported[0].metrics:
        return "".join(f"- {markdown(network.folder.name)}: {_figures(sweep, network)}\n" for network in exported)
    columns = front_columns(sweep, exported)
    head = [["network", *columns], ["---"] * (len(columns) + 1)]
    rows = [[markdown(network.folder.name), *figures(network, columns.values())] for network in exported]
    return "".join(f"| {' | '.join(line)} |\n" for line in [*head, *rows])


def _trial_files(candidate: Candidate, network: ExportedNetwork | None) -> dict[str, bytes]:
    arch, files = candidate.architecture, dict[str, bytes]()
    if arch is not None:
        files[ARCHITECTURE] = yaml.safe_dump(arch.to_dict(), sort_keys=False).encode()
        files["network.svg"] = draw(arch).encode()
    if network is not None:
        files[CARD] = (network.folder / CARD).read_bytes()
    return files


def _trial_text(sweep: Sweep, candidate: Candidate, network: ExportedNetwork | None) -> str:
    configuration = Configuration(candidate.architecture, candidate.final_hyperparameters)
    text = f"{TRIAL_OPENING}\n{code_span(configuration)}\n\n"
    if network is None:
        return f"{text}Not exported: raise `export.top` to have it measured and written.\n"
    return f"{text}Exported to {code_span(network.folder)}: {_figures(sweep, network)}.\n"


def _figures(sweep: Sweep, network: ExportedNetwork) -> str:
    """The figures of an exported network in one line."""
    m = network.metrics
    if "measured_ms" not in m:
        return ", ".join(f"{markdown(name)} {value:.4g}" for name, value in m.items())

    def printed(key: str) -> str:
        return sweep.metric(key).format(m[key])

    predicted = f"; {printed('predicted_ms')} predicted" if "predicted_ms" in m else ""
    measured = f"{printed('measured_ms')} measured (± {printed('measured_spread')}{predicted})"
    test = find_task(sweep.task).test_quality
    inherited = f" ({printed(INHERITED + test)} inherited)" if INHERITED + test in m else ""
    return f"**{printed(test)}** on test{inherited}, {measured}"
