"""Ask, evaluate, tell: once, for every engine.

`Search` decides and an `Engine` does: the loop asks for proposals while the engine has free_slots, and tells what came
back.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from ffnet_search.errors import SweepError
from ffnet_search.evaluation.outcome import Ended
from ffnet_search.progress import progress, say
from ffnet_search.search.optimizer import Search
from ffnet_search.space.configuration import Configuration


class Engine(Protocol):
    """Evaluates proposals, several at a time. Used as a context, at whose end nothing of it is left running.

    It is made with a `Pruner`, to which it takes each report of an evaluation, and whose answer it takes back."""

    @property
    def free_slots(self) -> int:
        """For how many proposals more."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether `next` need not wait."""
        ...

    @property
    def utilisation(self) -> dict[str, str]:
        """Who is at work, for the progress table; empty where it is this process alone."""
        ...

    def submit(self, configuration: Configuration) -> None: ...
    def next(self) -> tuple[Configuration, Ended]:
        """Waits for the next one that is finished. Raises SweepError where it is a user's mistake."""
        ...

    def __enter__(self) -> Engine: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


def run_loop(search: Search, engine: Engine) -> None:
    """Until `search.section.trials` proposals were evaluated or none is left. Interrupted, it says how to go on."""
    trials, in_flight, done = search.section.trials, 0, search.told
    with progress("search", trials, "candidates", done=done) as bar:
        try:
            while True:
                while wanted := min(engine.free_slots, trials - search.told - in_flight):
                    configuration = search.ask(wanted)
                    if configuration is None:
                        break
                    engine.submit(configuration)
                    in_flight += 1
                if not in_flight:
                    break
                while True:  # all that is there, since proposals that know more are better
                    search.tell(*engine.next())
                    in_flight -= 1
                    bar.advance(facts=search.facts() | engine.utilisation)
                    if not engine.is_ready:
                        break
        except KeyboardInterrupt:
            say(f"search: interrupted; {search.evaluated} candidates are kept, and the same command goes on from there")
            raise
    if search.ended:
        say(f"search: {search.ended}, so it ends with {search.evaluated} of {trials} candidates")
    if search.failed and not search.evaluated:
        reason = next(iter(search.failures.values()))
        raise SweepError(f"search: all {search.failed} evaluations failed, the first with: {reason}")
