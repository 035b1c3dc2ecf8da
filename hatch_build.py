"""README as the package's description: its links and images lead to the repository, since no file lies beside it.

Called by hatchling while it builds; the repository is the URL in pyproject.toml. Where there is none, links to files
are text alone, and images are left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

try:
    from hatchling.metadata.plugin.interface import MetadataHookInterface
except ImportError:  # the tests read `absolute` without the build's packages
    MetadataHookInterface = object

LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?P<rest>[^)]*)\)")


def absolute(text: str, repository: str | None) -> str:
    """The Markdown with links and images that lead to files of the repository as URLs; of no repository, the text of
    links, and no images."""

    def replace(found: re.Match[str]) -> str:
        if "://" in found["target"] or found["target"].startswith("mailto:"):
            return found[0]
        if repository is None:
            return "" if found["image"] else found["text"]
        kind = "raw" if found["image"] else "blob"
        return f"{found['image']}[{found['text']}]({repository}/{kind}/main/{found['target']}{found['rest']})"

    return LINK.sub(replace, text)


class ReadmeHook(MetadataHookInterface):
    """Sets the field `readme` of the package's metadata."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, metadata.get("urls", {}).get("Repository")),
        }
