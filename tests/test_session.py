"""The names of Ray without public counterparts, which a new version of Ray may change."""

from __future__ import annotations

import inspect

from ffnet_search.cluster.session import import_ray


def test_ray_prints_deaths_of_workers_by_the_function_that_is_replaced() -> None:
    import_ray()
    from ray._private import worker

    assert "print_to_stdstream(" in inspect.getsource(worker.listen_error_messages)
    assert worker.print_to_stdstream({"lines": ["a worker died"]}, ignore_prefix=False) is None


def test_ray_notes_the_last_cluster_by_the_name_that_is_read() -> None:
    from ray._private.utils import read_ray_address

    assert not inspect.signature(read_ray_address).parameters or all(
        one.default is not one.empty for one in inspect.signature(read_ray_address).parameters.values()
    )
