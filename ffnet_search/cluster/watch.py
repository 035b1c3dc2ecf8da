"""A watch over Ray's head and this process's node. When these are lost, Ray waits in native code, forever or for a
minute, and then ends the process with a message of its own.

An engine that checks (`Watch.check`) raises; if the main thread no longer checks, the watch ends the process with a
message. Only if the node dies at the moment in which Ray joins it, Ray is quicker.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from ffnet_search.errors import SweepError, one_line, shortened

PARTS = {"gcs_server": "head", "raylet": "node"}  # the processes of Ray that this one starts
LISTENERS = "ray_"  # how the names of its threads begin
LOOK_EVERY_S = 0.5
LOST_S = 1.0  # without an answer, after which a part is lost
HEAD_LOST_S = 40.0  # the same for the head of a cluster, which may restart; after 60 Ray ends this process
GRACE_S = 15.0  # for the main thread to end by itself
KEPT = "what was finished is kept, and the same command resumes"


class Place(NamedTuple):
    """The address at which a part of Ray listens."""

    part: str
    host: str
    port: int

    def answers(self) -> bool:
        """True if something listens there."""
        try:
            socket.create_connection((self.host, self.port), timeout=2.0).close()
        except OSError:
            return False
        return True


class Watch:
    """A thread that looks at Ray until `closing`. `fixed`: Ray is this process's own, and starts after the watch."""

    def __init__(self, *, fixed: bool) -> None:
        self.fixed = fixed
        self.places: tuple[Place, ...] = ()  # none while Ray starts
        self.lost = ""  # the sentence
        self.closing, self.ended = threading.Event(), threading.Event()
        self._seen: set[tuple[int, str]] = set()
        self._answered: dict[str, float] = {}

    def check(self) -> None:
        """Raise SweepError if Ray's head or the node of this process has ended."""
        if self.lost:
            raise SweepError(self.lost)

    def run(self) -> None:
        """Look until `closing`, or until a part is lost; then end this process unless `ended` is set in time."""
        while not self.closing.wait(LOOK_EVERY_S):
            part = self._lost_place() if self.places else self._lost_process() if self.fixed else ""
            if part and not self.closing.is_set():
                where = "this machine" if self.fixed else "the cluster"
                self.lost = f"search: Ray's {part} on {where} has ended; {KEPT}"
                if not self.ended.wait(GRACE_S if self.places else LOST_S):
                    print(f"ffnet-search: {self.lost}", file=sys.stderr, flush=True)
                    os._exit(2)  # the main thread is in native code, where nothing can be raised
                return

    def _lost_place(self) -> str:
        now = time.monotonic()
        for place in self.places:
            since = self._answered.setdefault(place.part, now)
            patience = HEAD_LOST_S if place.part == "head" and not self.fixed else LOST_S
            if place.answers():
                self._answered[place.part] = now
            elif now - since > patience:
                return place.part
        return ""

    def _lost_process(self) -> str:
        living = set(_children())
        gone = self._seen - living
        self._seen |= living
        return next((PARTS[name] for _, name in sorted(gone, key=lambda one: one[1])), "")


@contextmanager
def watched(*, fixed: bool, start: Callable[[], Any]) -> Iterator[Watch]:
    """Connect to Ray by `start`, which returns it, and watch it until the block ends; then disconnect. Raises
    SweepError if Ray does not start."""
    watch, ray = Watch(fixed=fixed), None
    threading.Thread(target=watch.run, name="watch over Ray", daemon=True).start()
    with quiet_listeners():
        try:
            ray = start()
            watch.places = places_of(ray)
            yield watch
        finally:
            watch.closing.set()  # from here on Ray's processes end on purpose
            if ray is not None:
                ray.shutdown()
            watch.ended.set()


@contextmanager
def quiet_listeners() -> Iterator[None]:
    """Print no traceback of Ray's own threads for Ray's own errors: they listen to its head, whose loss the watch tells
    of."""
    print_traceback = threading.excepthook

    def told(ended: threading.ExceptHookArgs) -> None:
        from ray.exceptions import RayError

        is_listener = ended.thread is not None and ended.thread.name.startswith(LISTENERS)
        if not (is_listener and issubclass(ended.exc_type, RayError)):
            print_traceback(ended)

    threading.excepthook = told
    try:
        yield
    finally:
        threading.excepthook = print_traceback


def start_or_refuse(start: Callable[[], None]) -> None:
    """Start Ray on this machine by `start`. Raises SweepError for what Ray raises, plain Exceptions among it."""
    try:
        start()
    except Exception as error:
        reason = shortened(one_line(error))
        raise SweepError(f"search: Ray cannot be started on this machine: {reason}") from error


def places_of(ray: Any) -> tuple[Place, ...]:
    """The addresses of Ray's head and of this process's node."""
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    own = [node for node in ray.nodes() if node["NodeID"] == context.get_node_id()]
    nodes = [Place("node", node["NodeManagerAddress"], node["NodeManagerPort"]) for node in own]
    return (Place("head", host.strip("[]"), int(port)), *nodes)


def _children() -> Iterator[tuple[int, str]]:
    """Ids and names of the parts that this process has started and that live; none if there is no /proc."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            name, _, rest = stat.read_text().partition("(")[2].rpartition(") ")
            state, parent = rest.split()[:2]
            if name in PARTS and state != "Z" and int(parent) == os.getpid():
                yield int(stat.parent.name), name
