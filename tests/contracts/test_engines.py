"""Every engine evaluates each configuration once, keeps all results, and resumes where it was killed.

Engines "ray" and "tune" take minutes for all of the contract, which is in `e2e/test_engines.py`.
"""

from __future__ import annotations

import pytest
from engine_contract import EngineContract

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.engines.local import LocalEngine
from ffnet_search.engines.registry import ENGINES, find_engine
from ffnet_search.errors import SweepError


class TestInThisProcess(EngineContract):
    """The engine that needs nothing, and a user-supplied one by import path."""

    @pytest.fixture(params=["local", "own_engine:ThreadEngine"])
    def engine(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.slow
class TestOnRay:
    """The heart of the contract on the engines that use Ray."""

    @pytest.fixture(params=["ray", "tune"])
    def engine(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    test_all_are_kept = EngineContract.test_each_architecture_is_evaluated_once_and_all_are_kept
    test_early_stopping = EngineContract.test_every_engine_stops_the_same_trials_also_when_resumed


def test_an_engine_is_a_row_and_says_itself_where_it_trains() -> None:
    assert find_engine(SearchSection()) is LocalEngine
    where = {name: find_engine(SearchSection(engine=name)).trains_on_cluster for name in ENGINES}
    assert where == {"local": False, "ray": True, "tune": True}
    own = find_engine(SearchSection(engine="own_engine:ThreadEngine"))
    assert own.trains_on_cluster is False
    own.check(SearchSection())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("locale", "search.engine must be one of local, ray, tune or package.module:Class.*did you mean 'local'"),
        ("own_engin:ThreadEngine", "there is no module 'own_engin' to import"),
        ("own_engine:ThreadEngin", "must name an? Engine, but ThreadEngin does not exist; did you mean 'ThreadEngine'"),
        ("own_network:Curve", "must name an? Engine, but Curve is"),
    ],
)
def test_an_unknown_engine_is_one_sentence(name: str, message: str) -> None:
    with pytest.raises(SweepError, match=message):
        find_engine(SearchSection(engine=name))
