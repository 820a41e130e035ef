from __future__ import annotations

import pytest

from beholder.machine.cluster import connected


@pytest.mark.slow
def test_two_nodes_work_for_one_that_is_connected(two_nodes: str) -> None:
    with connected() as ray, connected() as again:
        assert again is ray
        assert [node["Resources"]["CPU"] for node in ray.nodes()] == [1.0, 1.0]
        assert ray.get(ray.remote(lambda: 6 * 7).remote()) == 42
    assert not ray.is_initialized()
