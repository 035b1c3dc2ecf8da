"""Notes and files at the trials of the front, for Optuna Dashboard.

Notes and files are attributes of the study, since its trials are finished: under the keys where Optuna Dashboard reads
both (its `_note.py` and `artifact/_backend.py`). So a plain `optuna-dashboard sqlite:///STUDY --artifact-dir ARTIFACTS`
shows them too. An infeasible architecture has no values and the state pruned: the dashboard, which does not know
Optuna 5's constraints, cannot show it on the front.
"""

from __future__ import annotations

import json
import mimetypes
import shutil
import uuid
from collections.abc import Iterator, Sequence
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
REPORT_BYTES = 1 << 26  # of a report, which is some 1 MB
NOTE_PIECE = 2045  # characters of a note in one attribute
MOST = 50  # trials with notes: Optuna Dashboard reads all notes for every trial of the study


class Notes:
    """Notes in Markdown, and files, of a study and its trials (by id in the storage), as attributes of the study."""

    def __init__(self, artifacts: Path, attributes: Attributes) -> None:
        self.artifacts, self.attributes = artifacts, attributes
        for key in attributes.before:  # those of an earlier front are removed, as the dashboard spells it
            if key.startswith((TRIAL_FILES, STUDY_FILES)):
                attributes.new[key] = "null"
            elif ":note_str:" in key:
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
        """Add a note in pieces, with a version, which the page takes as newer if the text changed."""
        prefix = "dashboard" if trial is None else f"dashboard:{trial}"
        starts = range(0, len(text), NOTE_PIECE)
        pieces = {f"{prefix}:note_str:{i}": text[start : start + NOTE_PIECE] for i, start in enumerate(starts)}
        before = self.attributes.before
        version = int(str(before.get(f"{prefix}:note_ver", 0)))
        if any(before.get(key) != piece for key, piece in pieces.items()):
            version += 1
        self.attributes.new.update({f"{prefix}:note_ver": version, **pieces})


@contextmanager
def annotating(study: Path, artifacts: Path) -> Iterator[Notes]:
    """Yield the notes of a study; those added in the block replace those of an earlier front at its end.

    Raises SweepError if the study cannot be read or written."""
    shutil.rmtree(artifacts, ignore_errors=True)
    artifacts.mkdir(parents=True)
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
        notes.add_note(f"# {sweep.name}\n\n{link}{_study_text(sweep, front, list(exported.values()))}")
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
    text = f"On the front.\n\n{code_span(configuration)}\n\n"
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
