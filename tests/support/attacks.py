"""Attacks by files and options: how each is laid, and the command that meets it."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from base_run import CLUSTER, SPACE, SWEEP
from PIL import Image

from ffnet_search.config.sweep import Sweep
from ffnet_search.data.cifar import Cifar10
from ffnet_search.export.exported import read_exported
from ffnet_search.models.saved import read_supernet
from ffnet_search.provenance import git_state
from ffnet_search.report.annotate import annotate_study
from ffnet_search.training.checkpoints import read_last
from ffnet_search.training.start import load_start

RUN, NETWORK, STUDY = "runs/tiny", "runs/tiny/pareto/01-net", "runs/tiny/study.db"
EVIL = "evil.nets:Class"  # importing it leaves MARK
SECRET = "the-secret-of-this-machine"
TAKEN = "\x1b]0;taken\x07"  # sets the title of a terminal
COLOURED = {**SPACE, "input": {"channels": 3, "resolution": 32, "classes": 10}}
Act = Callable[[], object]


class Touch:
    """Leaves MARK where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("touch MARK",)


class Attack(NamedTuple):
    """What lies in the folder, and the command line that meets it, or the entry point which a verb reaches late."""

    lay: Act
    command: str | Act


def text(path: str, content: object) -> Act:
    return lambda: Path(path).write_text(content if isinstance(content, str) else yaml.safe_dump(content))


def sweep(path: str = "tiny.yaml", **sections: Any) -> Act:
    """A good sweep, but for these sections, which consents in its own name."""
    content = {**SWEEP, "search_space": SPACE, "runs": "runs", "allow_imports": True, **sections}
    return text(path, json.loads(json.dumps(content)))


def unasked(**sections: Any) -> Act:
    """The same without consent, for verbs that run it."""
    return sweep(**{"allow_imports": False, **sections})


def cluster(**sections: Any) -> Act:
    return text("cluster.yaml", {**CLUSTER, **sections})


def pickled(path: str) -> Act:
    def lay() -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(pickle.dumps({b"data": Touch(), "state_dict": Touch()}, protocol=2))

    return lay


def start_from(path: str) -> Act:
    def lay() -> None:
        pickled(path)()
        sweep(train={"epochs": 2, "start_from": path})()

    return lay


def card(**fields: Any) -> Act:
    def lay() -> None:
        path = Path(NETWORK, "card.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return lay


def architecture() -> None:
    path = Path(NETWORK, "architecture.yaml")
    content = yaml.safe_load(path.read_text())
    content["stages"][0]["blocks"][0]["mixer"] = EVIL
    path.write_text(yaml.safe_dump(content))


def scores() -> None:
    np.savez(Path(NETWORK, "scores.npz"), search=np.array([Touch()], dtype=object))


def cifar_pickles() -> None:
    sweep(search_space=COLOURED, data={"name": "cifar10", "path": "c"})()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"):
        pickled(f"c/cifar-10-batches-py/{name}")()


def cifar_archive() -> None:
    sweep(search_space=COLOURED, data={"name": "cifar10", "path": "c.tar.gz"})()
    with tarfile.open("c.tar.gz", "w:gz") as archive:
        escape = tarfile.TarInfo("../MARK")
        escape.size = 1
        archive.addfile(escape, io.BytesIO(b"x"))
        for name in ("MARK", "cifar-10-batches-py/test_batch"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, str(Path("secret").absolute())
            archive.addfile(link)


def read_cifar() -> None:
    found = Sweep.from_yaml(Path("tiny.yaml"))
    Cifar10().read(found.data, found.search_space.images)


def pictures(last: Act) -> Act:
    def lay() -> None:
        for name in ("a", "b"):
            Path("pictures", name).mkdir(parents=True)
            for number in range(8):
                Image.new("RGB", (8, 8), (9 * number, 9, 9)).save(f"pictures/{name}/{number}.png")
        last()

    return lay


def bound_socket() -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("pictures/a/9.png")


POSTSCRIPT = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(MARK) (w) file closefile\n%%EOF\n"


def repository() -> None:
    Path(".gitattributes").write_text("*.txt filter=evil\n")
    Path("file.txt").write_text("1")
    for words in (
        "init -q", "add file.txt .gitattributes", "-c user.name=a -c user.email=a@b commit -qm 1",
        "config core.fsmonitor ./hooks/post-index-change", "config core.hooksPath hooks",
        "config filter.evil.clean ./hooks/post-index-change",
    ):  # fmt: skip
        subprocess.run(["git", *words.split()], check=True, capture_output=True)
    Path("hooks").mkdir()
    Path("hooks", "post-index-change").write_text("#!/bin/sh\ntouch MARK\n")
    Path("hooks", "post-index-change").chmod(0o755)
    os.utime("file.txt", (1, 1))


def study(key: str, value: object) -> Act:
    def lay() -> None:
        with closing(sqlite3.connect(STUDY)) as db, db:
            db.execute("update trial_user_attributes set value_json = ? where key = ?", (json.dumps(value), key))

    return lay


def phone(**device: Any) -> list[dict[str, Any]]:
    arguments = {"command": ["touch", "MARK", "{model}"], "device": "any"}
    return [{"name": "phone", "backend": "command", "init_args": arguments, **device}]


FORMAT = {"files": ["model.onnx"], "max_difference": 0.0, "latency_ms": 1.0}
CALLBACK = {"epochs": 2, "callbacks": [{"class_path": EVIL}]}
ATTACKS = {
    "a tag of Python in YAML": Attack(
        text("tiny.yaml", "a: !!python/object/apply:os.system ['touch MARK']"), "check tiny.yaml"
    ),
    "a callback": Attack(sweep(train=CALLBACK), "check tiny.yaml"),
    "a logger": Attack(sweep(train={"loggers": [EVIL]}), "check tiny.yaml"),
    "a data module": Attack(sweep(data={"name": EVIL}), "check tiny.yaml"),
    "a sampler": Attack(sweep(search={"trials": 8, "sampler": EVIL}), "check tiny.yaml"),
    "an engine": Attack(sweep(search={"trials": 8, "engine": EVIL}), "check tiny.yaml"),
    "a task": Attack(sweep(task=EVIL), "show tiny.yaml"),
    "a mixer": Attack(
        sweep(search_space={**SPACE, "stages": [{"depth": 1, "width": 8, "mixer": EVIL}]}), "show tiny.yaml"
    ),
    "a backend": Attack(sweep(latency={"backend": EVIL}), "check tiny.yaml"),
    "a program of a backend": Attack(sweep(latency=phone()), "check tiny.yaml"),
    "a class in a sweep that is run": Attack(unasked(train=CALLBACK), "run tiny.yaml"),
    "a program in a sweep that is run": Attack(unasked(latency=phone()), "profile tiny.yaml --device phone"),
    "a class in a run's copy": Attack(sweep(f"{RUN}/sweep.yaml", train=CALLBACK), f"pick {RUN} --latency-ms 9"),
    "a class in a run's list": Attack(sweep(f"{RUN}/sweep.yaml", task=EVIL), "list"),
    "a class in an exported network": Attack(architecture, f"show {NETWORK}"),
    "a format in a card": Attack(card(formats={EVIL: FORMAT, TAKEN: FORMAT}), f"export {RUN} --table"),
    "files of a card elsewhere": Attack(card(formats={"x": {**FORMAT, "files": ["/"]}}), f"export {RUN} --table"),
    "a pickle as supernet": Attack(pickled(f"{RUN}/supernet.ckpt"), lambda: read_supernet(Path(RUN, "supernet.ckpt"))),
    "a pickle as checkpoint": Attack(pickled("last.ckpt"), lambda: read_last(Path("last.ckpt"), plain=True)),
    "a pickle as weights to start from": Attack(
        start_from("w.ckpt"), lambda: load_start(Sweep.from_yaml(Path("tiny.yaml")))
    ),
    "a pickle as scores": Attack(scores, lambda: read_exported(Path(NETWORK).parent)[0].scores("search")),
    "pickles as CIFAR batches": Attack(cifar_pickles, read_cifar),
    "links and escapes in an archive": Attack(cifar_archive, read_cifar),
    "PostScript named like an image": Attack(pictures(text("pictures/a/9.png", POSTSCRIPT)), "init --data pictures"),
    "a pipe named like an image": Attack(pictures(lambda: os.mkfifo("pictures/a/9.png")), "init --data pictures"),
    "a socket named like an image": Attack(pictures(bound_socket), "init --data pictures"),
    "an option as a cluster's user": Attack(
        cluster(auth={"ssh_user": "-oProxyCommand=touch MARK"}), "submit cluster.yaml"
    ),
    "an option as a cluster's host": Attack(
        cluster(provider={"type": "local", "head_ip": "-oProxyCommand=touch${IFS}MARK", "worker_ips": []}),
        "submit cluster.yaml",
    ),
    "an option of ssh behind a quote in a cluster's key": Attack(
        cluster(auth={"ssh_user": "me", "ssh_private_key": 'k" -o ProxyCommand="touch MARK'}), "submit cluster.yaml"
    ),
    "a program in a cluster's file": Attack(
        cluster(auth={"ssh_user": "me", "ssh_proxy_command": "touch MARK"}), "submit cluster.yaml"
    ),
    "a command as a path of a cluster": Attack(cluster(file_mounts={"/a;touch MARK": "."}), "submit cluster.yaml"),
    "a command as a cluster's image": Attack(
        cluster(docker={"image": "x;touch MARK", "container_name": "$(touch MARK)"}), "submit cluster.yaml"
    ),
    "a cluster's name that leaves its folder": Attack(cluster(cluster_name="../../MARK"), "submit cluster.yaml"),
    "a folder that a cluster's head would fill": Attack(
        cluster(metadata={"sweep": {"search_space": SPACE, "data": {"name": "digits"}, "runs": "..", "name": "evil"}}),
        "submit cluster.yaml",
    ),
    "an option as a file to copy": Attack(cluster(file_mounts={"/a": "--rsh=touch MARK"}), "submit cluster.yaml"),
    "a provider of a cluster": Attack(cluster(provider={"type": "external", "module": EVIL}), "submit cluster.yaml"),
    "a repository's hooks and filters": Attack(repository, git_state),
    "a run's name that leaves its folder": Attack(sweep(name="../../MARK"), "run tiny.yaml"),
    "a space that is another file": Attack(sweep(search_space="secret"), "check tiny.yaml"),
    "control codes in a card": Attack(card(summary=TAKEN, hyperparameters={TAKEN: TAKEN}), f"show {RUN}"),
    "control codes in a sweep": Attack(sweep(data={"name": f"digits{TAKEN}"}), "check tiny.yaml"),
    "control codes in a study": Attack(study("origin", TAKEN), f"pick {RUN} --latency-ms 9"),
    "a run for the dashboard": Attack(
        sweep(f"{RUN}/sweep.yaml", train=CALLBACK), lambda: annotate_study(Sweep.of_run(Path(RUN)))
    ),
}
