"""Notes of a run for Optuna Dashboard: its front, and at each trial of the front the network's files."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import ARCHITECTURE, CARD, ExportedNetwork, read_exported
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.report.architecture_svg import draw
from ffnet_search.report.dashboard import annotating
from ffnet_search.report.data import figures, front_columns
from ffnet_search.search.storage.study import read_records
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import find_task

MOST = 50  # trials with notes: Optuna Dashboard reads all notes for every trial of the study


def annotate_study(sweep: Sweep) -> None:
    """Write notes and files into the run's study. Raises SweepError if there is no study."""
    records = [record for record in read_records(sweep.files.study) if record.state == "evaluated"]
    ids = {record.key: record.id for record in records}
    front = pareto_front([record.candidate(sweep.search_space) for record in records], sweep.search.directions)
    exported = {network.key: network for network in read_exported(sweep.files.pareto) if network.key in ids}
    exported_first = sorted(front, key=lambda candidate: candidate.key not in exported)
    with annotating(sweep.files.study, sweep.files.artifacts) as notes:
        report, link = sweep.files.report, ""
        if report.exists():
            id = notes.add_file(report.name, report.read_bytes())
            link = f"**[Open the report](/artifacts/{notes.study_id}/{id})** (also `{report}`).\n\n"
        notes.add_note(f"# {sweep.name}\n\n{link}{_study_text(sweep, front, list(exported.values()))}")
        for candidate in exported_first[:MOST]:
            trial, network = ids[candidate.key], exported.get(candidate.key)
            for name, content in _trial_files(candidate, network).items():
                notes.add_file(name, content, trial)
            notes.add_note(_trial_text(sweep, candidate, network), trial)


def _study_text(sweep: Sweep, front: Sequence[Candidate], exported: Sequence[ExportedNetwork]) -> str:
    limits = ", ".join(f"{name} ≤ {limit:g}" for name, limit in sweep.search.constraints.items()) or "none"
    table = f"The exported networks:\n\n{_table(sweep, exported)}" if exported else "Nothing is exported yet.\n"
    keys = ", ".join(f"`{candidate.key}`" for candidate in front)
    return (
        f"{table}\nThe front ({len(front)} candidates, best first): {keys}. Their trials have a note, and files of the "
        f"network as artifacts.\n\nLimits: {limits}. Architectures beyond them were never evaluated: they have no "
        "values, and are the trials that are *pruned*.\n"
    )


def _table(sweep: Sweep, exported: Sequence[ExportedNetwork]) -> str:
    """Markdown: a table of FFNets whose latency was predicted, else a list."""
    if "predicted_ms" not in exported[0].metrics:
        return "".join(f"- {network.folder.name}: {_figures(sweep, network)}\n" for network in exported)
    columns = front_columns(sweep)
    head = [["network", *columns], ["---"] * (len(columns) + 1)]
    rows = [[network.folder.name, *figures(network, columns.values())] for network in exported]
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
    text = f"On the front.\n\n`{Configuration(candidate.architecture, candidate.final_hyperparameters)}`\n\n"
    if network is None:
        return f"{text}Not exported: raise `export.top` to have it measured and written.\n"
    return f"{text}Exported to `{network.folder}`: {_figures(sweep, network)}.\n"


def _figures(sweep: Sweep, network: ExportedNetwork) -> str:
    """The figures of an exported network in one line."""
    m = network.metrics
    if "measured_ms" not in m:
        return ", ".join(f"{name} {value:.4g}" for name, value in m.items())

    def printed(key: str) -> str:
        return sweep.metric(key).format(m[key])

    predicted = f"; {printed('predicted_ms')} predicted" if "predicted_ms" in m else ""
    measured = f"{printed('measured_ms')} measured (± {printed('measured_spread')}{predicted})"
    return f"**{printed(find_task(sweep.task).test_quality)}** on test, {measured}"
