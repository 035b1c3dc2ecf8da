"""A population of trials: one small network, its hyper-parameters, and the scheduler."""

from __future__ import annotations

INPUT = {"channels": 1, "resolution": 8, "classes": 10}
STAGE = {"depth": [1], "width": [16], "token_kernel": [3], "channel_kernel": [3], "expansion": [2]}
ONE = {"input": INPUT, "stem": {"width": [8], "stride": [2]}, "stages": [STAGE]}
RATES = {"learning_rate": {"low": 1e-6, "high": 0.02, "log": True}, "weight_decay": {"low": 0.0, "high": 0.2}}
POPULATION = {
    "class_path": "PopulationBasedTraining",
    "init_args": {"perturbation_interval": 1, "quantile_fraction": 0.5, "resample_probability": 0.0},
}
