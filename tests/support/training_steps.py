"""The steps of every training in this process as they happen: the mode of the network, and its BN statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from torch import Tensor

from ffnet_search.models.elastic import ElasticBatchNorm2d
from ffnet_search.training.modules import FFNetModule


@dataclass(frozen=True)
class ObservedStep:
    """`modes`: of the network and all its modules. `moved`: the step changed the running statistics of every BN that
    tracks them; those of a supernet do not."""

    key: str  # of the network that is trained
    modes: frozenset[bool]
    moved: bool


@contextmanager
def observed_steps() -> Iterator[list[ObservedStep]]:
    """Observe `FFNetModule.training_step` while the context is open."""
    steps: list[ObservedStep] = []
    original = FFNetModule.training_step

    def observed(self: FFNetModule, *arguments: Any) -> Tensor:
        before = [mean_C.clone() for mean_C in _means(self)]
        modes = frozenset(module.training for module in self.net.modules())
        loss = original(self, *arguments)
        moved = all(not mean_C.equal(old_C) for mean_C, old_C in zip(_means(self), before, strict=True))
        steps.append(ObservedStep(self.net.largest.key, modes, moved))
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FFNetModule, "training_step", observed)
        yield steps


def assert_trained(steps: Sequence[ObservedStep]) -> None:
    """Assert that there were steps, each in training mode and with BN statistics that moved."""
    assert steps
    assert {step.modes for step in steps} == {frozenset({True})}
    assert all(step.moved for step in steps)


def _means(module: FFNetModule) -> list[Tensor]:
    norms = [one for one in module.net.modules() if isinstance(one, ElasticBatchNorm2d)]
    return [one.running_mean for one in norms if one.tracking and one.running_mean is not None]
