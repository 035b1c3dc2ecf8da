"""Notes and files at the trials of the front, for Optuna Dashboard: what they say, and the study that gets them.

An infeasible architecture has no values and the state pruned: the dashboard, which does not know Optuna 5's
constraints, cannot show it on the front.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from ffnet_search.config.commands import command_of
from ffnet_search.config.start import ARCHITECTURE
from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import CARD, ExportedNetwork, read_exported
from ffnet_search.files.bounded import read_bounded
from ffnet_search.formatting import code_span, markdown, plural
from ffnet_search.metrics import INHERITED
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.progress import say
from ffnet_search.report.architecture_svg import draw
from ffnet_search.report.data import figures, front_columns
from ffnet_search.report.notes import STUDY_OPENING, TRIAL_OPENING, annotating
from ffnet_search.search.storage.read_only import readable_study
from ffnet_search.search.storage.study import read_records
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import find_task

REPORT_BYTES = 1 << 26  # of a report, which is some 1 MB
MAX_TRIALS = 50  # trials with notes: Optuna Dashboard reads all notes for every trial of the study


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
    trials = read_records(sweep.files.study, command_of("run", sweep))
    records = [trial for trial in trials if trial.state == "evaluated"]
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
        for candidate in exported_first[:MAX_TRIALS]:
            trial, network = ids[candidate.key], exported.get(candidate.key)
            for name, content in _trial_files(candidate, network).items():
                notes.add_file(name, content, trial)
            notes.add_note(_trial_text(sweep, candidate, network), trial)


def _study_text(sweep: Sweep, front: Sequence[Candidate], exported: Sequence[ExportedNetwork]) -> str:
    table = f"The exported networks:\n\n{_table(sweep, exported)}" if exported else "Nothing is exported yet.\n"
    keys = ", ".join(code_span(candidate.key) for candidate in front)
    return (
        f"{table}\nThe front ({plural(len(front), 'candidate')}, best first): {keys}. Their trials have a note, and "
        f"files of the network as artifacts.\n\nLimits: {sweep.search.limits}. Architectures beyond them were never "
        "evaluated: they have no values, and are the trials that are *pruned*.\n"
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
        figures = {name: sweep.metric(name).format(value, unit=False) for name, value in m.items()}
        return ", ".join(f"{markdown(name)} {value}" for name, value in figures.items())

    def printed(key: str) -> str:
        return sweep.metric(key).format(m[key])

    predicted = f"; {printed('predicted_ms')} predicted" if "predicted_ms" in m else ""
    measured = f"{printed('measured_ms')} measured (± {printed('measured_spread')}{predicted})"
    test = find_task(sweep.task).test_quality
    inherited = f" ({printed(INHERITED + test)} inherited)" if INHERITED + test in m else ""
    return f"**{printed(test)}** on test{inherited}, {measured}"
