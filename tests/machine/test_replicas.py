"""What can be said of replicas without a cluster; tests/cluster/test_serve.py has one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from beholder.base.errors import UsageError
from beholder.machine import replicas
from beholder.machine.replicas import Share, share


@pytest.mark.parametrize(
    ("nodes", "count", "expected"),
    [
        ([(1, 0), (1, 0)], 2, Share(2, 1, 0)),
        ([(1, 0), (1, 0)], 1, Share(1, 1, 0)),  # two CPUs, of which no node has both
        ([(8, 0), (4, 0)], 2, Share(2, 4, 0)),
        ([(8, 0), (4, 0)], 1, Share(1, 8, 0)),
        ([(8, 0), (4, 0)], 0, Share(12, 1, 0)),
        ([(16, 4), (16, 4)], 8, Share(8, 4, 1)),
        ([(16, 4), (16, 4)], 9, Share(9, 3, 0)),  # too few GPUs for each to have one
        ([(16, 4), (2, 4)], 0, Share(6, 1, 1)),
        ([(0, 0), (2, 0)], 2, Share(2, 1, 0)),
    ],
)
def test_replicas_share_what_the_nodes_have(nodes: list[tuple[int, int]], count: int, expected: Share) -> None:
    assert share([{"CPU": cpus, "GPU": gpus, "memory": 1.0} for cpus, gpus in nodes], count) == expected


@pytest.mark.parametrize(("nodes", "count"), [([1, 1], 3), ([0], 0), ([0, 0], 1)])
def test_more_replicas_than_cpus_are_refused(nodes: list[int], count: int) -> None:
    with pytest.raises(UsageError) as caught:
        share([{"CPU": cpus} for cpus in nodes], count)
    assert caught.value.code == "too-few-cpus"


def test_the_head_is_the_node_that_says_so_and_the_dead_are_not_counted() -> None:
    nodes = [
        {"Alive": False, "NodeManagerAddress": "10.0.0.1", "Resources": {"CPU": 9, replicas.HEAD: 1}},
        {"Alive": True, "NodeManagerAddress": "10.0.0.2", "Resources": {"CPU": 1, replicas.HEAD: 1}},
        {"Alive": True, "NodeManagerAddress": "10.0.0.3", "Resources": {"CPU": 2}},
    ]
    for own, here in (("10.0.0.2", True), ("10.0.0.3", False)):
        ray: Any = SimpleNamespace(nodes=lambda: nodes, util=SimpleNamespace(get_node_ip_address=lambda own=own: own))
        assert replicas.head(ray) == ("10.0.0.2", here)
        assert [node["CPU"] for node in replicas.resources(ray)] == [1, 2]


def test_a_cluster_that_serves_already_is_left_alone() -> None:
    free = SimpleNamespace(status=lambda: SimpleNamespace(applications={}, proxies={}))
    taken = SimpleNamespace(status=lambda: SimpleNamespace(applications={"chat": 1}, proxies={"a": 1}))
    replicas._check_free(free)
    with pytest.raises(UsageError) as caught:
        replicas._check_free(taken)
    assert (caught.value.code, "chat" in caught.value.message) == ("serve-runs", True)
