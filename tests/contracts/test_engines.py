"""Every engine evaluates each configuration once, keeps all results, and resumes where it was killed."""

from __future__ import annotations

import pytest
from engine_contract import EngineContract


@pytest.fixture
def engine() -> str:
    return "local"


class TestLocal(EngineContract):
    """The engine of this process."""
