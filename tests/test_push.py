"""An exported network on a model hub: a server on this machine speaks the part of its HTTP API that is used."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from exported import write_run
from http_body import read_body
from patience import PATIENCE_S

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.export.bundle.push import repository_of, set_license
from ffnet_search.plugins import is_installed

HEAD = "---\nlibrary_name: ffnet-search\ntags:\n- onnx\n---\n# A network\n"
needs_client = pytest.mark.skipif(not is_installed("huggingface_hub"), reason="huggingface_hub is not installed")


class Hub(ThreadingHTTPServer):
    """Holds repositories in memory: name -> path -> content. It takes `token` alone."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.token = "hf_right"
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Requests(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def answer(self, code: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        name = self.path.removeprefix("/api/models/").partition("/")[0]
        self.answer(200, {"id": name, "sha": "0" * 40})

    def do_PUT(self) -> None:
        self.server.objects[self.path.rpartition("/")[2]] = read_body(self)
        self.answer(200, {})

    def do_POST(self) -> None:
        content, path = read_body(self), self.path.partition("?")[0]
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self.answer(401, {"error": "Invalid credentials in Authorization header"})
        elif path == "/api/repos/create":
            asked = json.loads(content)
            name = f"{asked['organization']}/{asked['name']}"
            self.server.repositories.setdefault(name, {})
            self.answer(200, {"url": f"{self.server.address}/{name}"})
        elif path == "/api/validate-yaml":
            head = yaml.safe_load(json.loads(content)["content"].split("---\n")[1])
            self.answer(200 if "license" in head else 400, {"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = [one["path"] for one in json.loads(content)["files"]]
            modes = {name: "lfs" if name.endswith(".safetensors") else "regular" for name in files}
            self.answer(200, {"files": [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in modes.items()]})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.server.address}/lfs/{one['oid']}"}}}
                for one in json.loads(content)["objects"]
            ]
            self.answer(200, {"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            self.commit(path, [json.loads(line) for line in content.splitlines()])
        else:
            self.answer(404, {"error": f"no {path} here"})

    def commit(self, path: str, lines: list[dict[str, Any]]) -> None:
        name = path.removeprefix("/api/models/").partition("/commit/")[0]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.server.repositories[name][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.server.repositories[name][value["path"]] = self.server.objects[value["oid"]]
        address = f"{self.server.address}/{name}/commit/{'0' * 40}"
        self.answer(200, {"commitUrl": address, "commitOid": "0" * 40, "pullRequestUrl": None})


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    sweep = write_run(tmp_path)
    for card in sweep.files.pareto.glob("*/card.json"):
        (card.parent / "README.md").write_text(HEAD)
    return sweep


def push(sweep: Sweep, hub: Hub, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ffnet_search", "export", str(sweep.path), "--push", "hf:me/small", *words]
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_TOKEN": "hf_right", "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HOME": str(sweep.path.parent / "hub")}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE_S, check=False)


@needs_client
def test_the_folder_of_a_network_is_a_repository_with_a_license(sweep: Sweep, hub: Hub) -> None:
    first, _ = sorted(sweep.files.pareto.iterdir())
    key = first.name.partition("-")[2]
    done = push(sweep, hub, "--key", key, "--license", "cc-by-4.0", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["address"] == f"{hub.address}/me/small"
    stored = hub.repositories["me/small"]
    assert stored == {path.name: path.read_bytes() for path in first.iterdir()}
    header = yaml.safe_load(stored["README.md"].decode().split("---\n")[1])
    assert header["license"] == "cc-by-4.0" and header["tags"] == ["onnx"]


@needs_client
def test_a_hub_that_refuses_is_one_sentence_without_the_token(sweep: Sweep, hub: Hub) -> None:
    hub.token = "hf_other"
    done = push(sweep, hub, "--key", sorted(sweep.files.pareto.iterdir())[0].name.partition("-")[2], "--license", "mit")
    assert done.returncode == 2 and done.stdout == ""
    assert "cannot be pushed to me/small" in done.stderr and "hf auth login" in done.stderr
    assert "Traceback" not in done.stderr and "hf_right" not in done.stderr


@needs_client
def test_one_network_is_pushed_and_never_without_a_license(sweep: Sweep, hub: Hub) -> None:
    assert "give --key, one of" in push(sweep, hub, "--license", "mit").stderr
    key = sorted(sweep.files.pareto.iterdir())[0].name.partition("-")[2]
    assert "must have a license" in push(sweep, hub, "--key", key).stderr
    assert hub.repositories == {}


@pytest.mark.parametrize("target", ["me/small", "hf:small", "hf:../small", "hf:a/b/c", "hf:-a/b"])
def test_a_target_that_is_no_repository_is_one_sentence(target: str) -> None:
    with pytest.raises(SweepError, match="--push must be hf:OWNER/NAME, but got"):
        repository_of(target)


@pytest.mark.skipif(is_installed("huggingface_hub"), reason="huggingface_hub is installed")
def test_a_missing_client_is_named_with_its_extra() -> None:
    with pytest.raises(SweepError, match=r"needs huggingface_hub, .* pip install 'ffnet-search\[hub\]'"):
        repository_of("hf:me/small")


def test_a_license_replaces_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(HEAD)
    for given in ("mit", None, "apache-2.0"):
        set_license(tmp_path, given)
    text = (tmp_path / "README.md").read_text()
    assert text.count("license:") == 1 and yaml.safe_load(text.split("---\n")[1])["license"] == "apache-2.0"
    assert text.endswith("---\n# A network\n")


@pytest.mark.parametrize(
    ("text", "license", "message"),
    [
        (HEAD, "MIT License", "must have a license, .* but has 'MIT License'; give --license"),
        (HEAD, "mit\ntags: x", "must have a license"),
        ("# no head", "mit", "must be a model card with a head"),
    ],
)
def test_a_license_or_a_card_that_is_none_is_one_sentence(
    tmp_path: Path, text: str, license: str, message: str
) -> None:
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(SweepError, match=message):
        set_license(tmp_path, license)
    assert (tmp_path / "README.md").read_text() == text
