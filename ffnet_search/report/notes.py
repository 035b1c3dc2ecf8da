"""What a run tells on Optuna Dashboard: its front in words, and with each trial of it the network's files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import yaml

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import ExportedNetwork, read_exported
from ffnet_search.formatting import figure, ms, percent
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.report.architecture_svg import draw
from ffnet_search.report.dashboard import StudyNote, TrialNote, annotate
from ffnet_search.search.storage.study import read_evaluated
from ffnet_search.space.configuration import Configuration

MOST = 50  # trials with notes: Optuna Dashboard looks through all of them for every trial of the study
HEAD = "| network | test | search | measured | predicted | params |\n|---|---|---|---|---|---|\n"


def annotate_study(sweep: Sweep) -> None:
    """Notes and files into the run's study. Raises SweepError where there is no study."""
    evaluated = read_evaluated(sweep.files.study, sweep.search_space)
    front = pareto_front([candidate for _, candidate in evaluated.values()], sweep.search.directions)
    picks = {pick.key: pick for pick in read_exported(sweep.files) if pick.key in evaluated}
    first = sorted(front, key=lambda candidate: candidate.key not in picks)[:MOST]  # exported ones
    noted = [_noted(evaluated[one.key][0], one, picks.get(one.key)) for one in first]
    study_note = _study_note(sweep, front, list(picks.values()))
    annotate(sweep.files.study, sweep.files.artifacts, StudyNote(study_note, sweep.files.report), noted)


def _study_note(sweep: Sweep, front: Sequence[Candidate], picks: Sequence[ExportedNetwork]) -> Callable[[str], str]:
    limits = ", ".join(f"{name} ≤ {limit:g}" for name, limit in sweep.search.constraints.items()) or "none"
    rows = "".join(
        f"| {p.folder.name} | {percent(p.metrics['test_accuracy'])} | {percent(p.metrics['search_accuracy'])} | "
        f"{ms(p.metrics['measured_ms'])} | {ms(p.metrics['predicted_ms'])} | {figure(p.metrics['params_m'])} M |\n"
        for p in picks
        if "predicted_ms" in p.metrics
    )
    listed = "".join(f"- {p.folder.name}: {_figures(p)}\n" for p in picks)
    shown = f"{HEAD}{rows}" if rows else listed
    table = f"The exported networks:\n\n{shown}" if picks else "Nothing is exported yet.\n"
    keys = ", ".join(f"`{candidate.key}`" for candidate in front)

    def note(link: str) -> str:
        report = f"**[Open the report]({link})** (also `{sweep.files.report}`).\n\n" if link else ""
        return (
            f"# {sweep.name}\n\n{report}{table}\n"
            f"The front ({len(front)} candidates, best first): {keys}. Their trials have a note, and files of the "
            f"network as artifacts.\n\nLimits: {limits}. Architectures beyond them were never evaluated: they have no "
            "values, and are the trials that are *pruned*.\n"
        )

    return note


def _noted(trial: int, candidate: Candidate, pick: ExportedNetwork | None) -> TrialNote:
    arch, files = candidate.architecture, dict[str, bytes]()
    if arch is not None:
        files["architecture.yaml"] = yaml.safe_dump(arch.to_dict(), sort_keys=False).encode()
        files["network.svg"] = draw(arch).encode()
    text = f"On the front.\n\n`{Configuration(arch, candidate.final_hyperparameters)}`\n\n"
    if pick is None:
        text += "Not exported: raise `export.top` to have it measured and written.\n"
        return TrialNote(trial, text, files)
    files["card.json"] = (pick.folder / "card.json").read_bytes()
    text += f"Exported to `{pick.folder}`: {_figures(pick)}.\n"
    return TrialNote(trial, text, files)


def _figures(pick: ExportedNetwork) -> str:
    m = pick.metrics
    if "measured_ms" not in m:
        return ", ".join(f"{name} {value:.4g}" for name, value in m.items())
    predicted = f"; {ms(m['predicted_ms'])} predicted" if "predicted_ms" in m else ""
    measured = f"{ms(m['measured_ms'])} measured (± {percent(m['measured_spread'], 1)}{predicted})"
    return f"**{percent(m['test_accuracy'])}** on test, {measured}"
