"""An exported network on a model hub: its folder becomes a repository of Hugging Face's hub, by `hf:OWNER/NAME`.

The hub's own client signs in (`hf auth login`, or HF_TOKEN) and knows where the hub is (HF_ENDPOINT).
"""

from __future__ import annotations

import re
from pathlib import Path

from ffnet_search.atomic_write import write_text
from ffnet_search.errors import SweepError, one_line, shown
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.plugins import is_installed, not_installed

PACKAGE, EXTRA = "huggingface_hub", "hub"
TARGET = re.compile(r"hf:([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)")
LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")  # as the hub lists them: apache-2.0, mit, cc-by-4.0, other
MODEL_CARD, FIELD = "README.md", "license:"


def repository_of(target: str) -> str:
    """The repository of `hf:OWNER/NAME`. Raises SweepError if it is none, or the hub's client is not installed."""
    found = TARGET.fullmatch(target)
    if found is None:
        raise SweepError(f"--push must be hf:OWNER/NAME, but got {shown(target)}")
    if not is_installed(PACKAGE):
        raise not_installed("--push", target, PACKAGE, EXTRA)
    return found.group(1)


def set_license(folder: Path, license: str | None) -> None:
    """Write a license into the head of a folder's model card. Raises SweepError if there is none, or no card."""
    path = folder / MODEL_CARD
    try:
        before, head, text = path.read_text(encoding="utf-8").split("---\n", 2)
    except (OSError, ValueError):
        before = head = text = "none"
    if before:
        raise SweepError(f"{path}: must be a model card with a head, but is none; export again")
    lines = head.splitlines()
    had = [line.removeprefix(FIELD).strip() for line in lines if line.startswith(FIELD)]
    license = license or next(iter(had), None)
    if license is None or LICENSE.fullmatch(license) is None:
        raise SweepError(
            f"{path}: the model card must have a license, as the hub spells them (apache-2.0, mit, cc-by-4.0, other), "
            f"but has {shown(license)}; give --license"
        )
    others = [line for line in lines if not line.startswith(FIELD)]
    write_text(path, "\n".join(["---", f"{FIELD} {license}", *others, f"---\n{text}"]))


def push(network: ExportedNetwork, repository: str, license: str | None) -> str:
    """Upload the folder of an exported network, made a public repository where there is none; return its address.

    Raises SweepError if the hub refuses, or does not answer."""
    from httpx2 import HTTPError  # which the client's own errors are, and those of a hub that does not answer
    from huggingface_hub import HfApi

    set_license(network.folder, license)
    api = HfApi(library_name="ffnet-search")
    try:
        address = api.create_repo(repository, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=network.folder, commit_message=f"ffnet-{network.key}")
    except (HTTPError, OSError) as error:
        raise SweepError(
            f"{network.folder}: cannot be pushed to {repository}: {one_line(error)}; sign in with "
            "`hf auth login`, or set HF_TOKEN"
        ) from None
    return str(address)
