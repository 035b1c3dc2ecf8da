"""Ask, evaluate, tell: once, for every engine.

`Search` decides and an `Engine` does: the loop asks for proposals while the engine has free_slots, and tells what came
back.
"""

from __future__ import annotations

from ffnet_search.errors import SweepError
from ffnet_search.evaluation.engine import Engine
from ffnet_search.progress import progress, say
from ffnet_search.search.optimizer import Search


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
