"""Errors in a sweep, each one sentence: the cases of `errors.yaml`, whose sweeps are written by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from goldens.sweeps import FOLDER

from ffnet_search import Sweep, SweepError

ERRORS = FOLDER / "errors.yaml"


def errors(folder: Path) -> list[dict[str, Any]]:
    """The cases of `errors.yaml` with the current sentences."""
    cases = yaml.safe_load(ERRORS.read_text(encoding="utf-8"))
    found = []
    for number, case in enumerate(cases["cases"]):
        here = folder / f"{number:03d}"
        here.mkdir(parents=True, exist_ok=True)
        written = {"sweep.yaml": case["sweep"], **case.get("files", {})}
        for name, text in written.items():
            (here / name).write_text(text.replace("SPACE", cases["SPACE"].strip()), encoding="utf-8")
        try:
            Sweep.from_yaml(here / "sweep.yaml")
        except SweepError as error:
            sentence = str(error).replace(f"{here}{os.sep}", "").replace(str(here), "HERE")
        else:
            sentence = "no error"
        found.append({**case, "error": sentence})
    return found


class _Block(str):
    """A text that YAML writes over several lines."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")
)


def write_errors(folder: Path) -> None:
    """Rewrite the sentences; the head of the file and the order of the cases stay."""
    text = ERRORS.read_text(encoding="utf-8")
    head = text[: text.index("\ncases:")]
    parts = []
    for case in errors(folder):
        blocks = {"sweep": _Block(case["sweep"].strip() + "\n"), "error": case["error"]}
        if "files" in case:
            blocks["files"] = {name: _Block(content.strip() + "\n") for name, content in case["files"].items()}
        ordered = {name: blocks[name] for name in ("sweep", "files", "error") if name in blocks}
        parts.append(yaml.dump([ordered], Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True))
    ERRORS.write_text(f"{head}\ncases:\n\n" + "\n".join(parts), encoding="utf-8")
