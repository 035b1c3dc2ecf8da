"""Data sets: read, split into train, calibration, search validation and test, augmented, and resumed after a kill."""

from ffnet_search.data.build import DATASETS, build_data, check_data, sweep_data

__all__ = ["DATASETS", "build_data", "check_data", "sweep_data"]
