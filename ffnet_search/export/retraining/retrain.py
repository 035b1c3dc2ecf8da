"""The retraining of picks before the export, as evaluations of the sweep's engine.

runs/NAME/retrained/DIGEST/   trials/KEY/: weights.ckpt, retrained.json (its metrics), logs; while it trains last.ckpt

A network that was retrained before with the same inputs and supernet is read again, an interrupted one resumes.
"""

from __future__ import annotations

from collections.abc import Sequence

from ffnet_search.config.inputs import digest, retrain_inputs
from ffnet_search.config.retraining import Retraining
from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.factory import RetrainerFactory
from ffnet_search.evaluation.retrained import Retrained, retraining_sweep
from ffnet_search.evaluation.trained import WEIGHTS
from ffnet_search.export.retraining.record import retrained_configuration
from ffnet_search.export.retraining.training import Training, remove_others, train_all
from ffnet_search.files.digest import sha256_of
from ffnet_search.formatting import plural
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.progress import progress, say


def retrain(sweep: Sweep, candidates: Sequence[Candidate], retraining: Retraining) -> dict[str, Retrained]:
    """Retrain the candidates, the largest first; return key -> retrained network, without those that failed.

    Raises SweepError for a user error, and where the engine cannot work."""
    folder = sweep.files.retrained / weights_digest(sweep)[:12]
    remove_others(folder)
    largest_first = sorted(candidates, key=lambda one: -one.network.macs_m)
    # By the key of what is trained, without the search's epochs: two candidates may be retrained as one.
    wanted = {one.key: one for one in (retrained_configuration(sweep, candidate) for candidate in largest_first)}
    trained_by, factory = retraining_sweep(sweep, folder), RetrainerFactory(sweep, folder)
    training = Training("retrain", folder, factory, trained_by, retraining.epochs_of, WEIGHTS, "its weights stay")
    found, waiting = training.stored(wanted)
    before = f"; {len(found)} of them were retrained before" if found else ""
    say(f"retrain: {plural(len(wanted), 'network')}, {retraining}{before}")
    if waiting:
        with progress("retrain", training.total(waiting), "epochs") as bar:
            found |= train_all(training, waiting, bar)
    keys = {candidate.key: retrained_configuration(sweep, candidate).key for candidate in candidates}
    return {candidate: found[key] for candidate, key in keys.items() if key in found}


def weights_digest(sweep: Sweep) -> str:
    """The digest of all that a retrained network depends on, but for its configuration."""
    inputs = retrain_inputs(sweep)
    if sweep.uses_supernet:
        inputs["supernet"] = sha256_of(sweep.files.supernet)
    return digest(inputs)
