"""The arguments that a sweep gives a sampler, held against what its class takes; loads no Optuna."""

from __future__ import annotations

from collections.abc import Collection

from ffnet_search.config.search_schema import SamplerSection
from ffnet_search.errors import SweepError, did_you_mean


def check_sampler_arguments(section: SamplerSection, accepted: Collection[str]) -> None:
    """Raise SweepError for an argument that is none of those `accepted`, or that is set elsewhere."""
    where = f"search.sampler.init_args of {section.class_path}"
    for name in section.init_args:
        if name == "seed":
            raise SweepError(f"{where}: 'seed' must not be given, since the sweep's own seed is used; remove it")
        if name not in accepted:
            raise SweepError(f"{where}: {name!r} is not a known argument{did_you_mean(name, accepted)}")
