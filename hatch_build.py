"""Metadata of the package that depends on where its source is published: its URLs, and the links of its description.

Called by hatchling while it builds. The repository is the remote `origin` of the checkout that the package is built
from, or what the metadata of a source distribution says. Links and images of README lead there, since no file lies
beside a package's description; where there is none, links to files are text alone, and images are left out.
"""

from __future__ import annotations

import re
import subprocess
from email import message_from_string
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

try:
    from hatchling.metadata.plugin.interface import MetadataHookInterface
except ImportError:  # the tests read this file without the build's packages
    MetadataHookInterface = object

LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?P<rest>[^)]*)\)")
SCP_LIKE = re.compile(r"(?:[^@/\s]+@)?(?P<host>[^@:/\s]+):(?P<path>[^/:\s][^:\s]*)")  # git@example.org:owner/name.git


def address(remote: str) -> str | None:
    """The page of a repository, by the URL that git fetches it from; None where that is a folder, or no web host.

    Names and passwords of the URL are left out."""
    remote = remote.strip()
    if found := SCP_LIKE.fullmatch(remote):
        host, path = found["host"], found["path"]
    elif (parts := urlsplit(remote)).scheme in ("https", "http", "ssh", "git"):
        host, path = parts.netloc.rpartition("@")[2], parts.path
        host = host if parts.scheme.startswith("http") else host.partition(":")[0]
    else:
        return None
    return f"https://{host}/{path.strip('/').removesuffix('.git')}" if "." in host and path.strip("/") else None


def repository(root: Path) -> str | None:
    """The page of the repository that the source in `root` is of, if that can be known."""
    if (root / "PKG-INFO").is_file():
        urls = message_from_string((root / "PKG-INFO").read_text(encoding="utf-8")).get_all("Project-URL", [])
        return next((url.partition(", ")[2] for url in urls if url.startswith("Repository, ")), None)
    if not (root / ".git").exists():
        return None
    command = ["git", "config", "--get", "remote.origin.url"]
    try:
        found = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return address(found.stdout)


def absolute(text: str, page: str | None) -> str:
    """The Markdown with links and images that lead to files of the repository as URLs below its page; of no repository,
    the text of links, and no images."""

    def replace(found: re.Match[str]) -> str:
        if "://" in found["target"] or found["target"].startswith("mailto:"):
            return found[0]
        if page is None:
            return "" if found["image"] else found["text"]
        kind = "raw" if found["image"] else "blob"
        return f"{found['image']}[{found['text']}]({page}/{kind}/main/{found['target']}{found['rest']})"

    return LINK.sub(replace, text)


class PublishedHook(MetadataHookInterface):
    """Sets the fields `readme` and `urls` of the package's metadata."""

    def update(self, metadata: dict[str, Any]) -> None:
        page = repository(Path(self.root))
        text = absolute(Path(self.root, "README.md").read_text(encoding="utf-8"), page)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = dict(self.config["urls"])
        if page is not None:
            changes = f"{page}/blob/main/CHANGELOG.md"
            metadata["urls"] |= {"Repository": page, "Issues": f"{page}/issues", "Changelog": changes}
