"""A Ray cluster of two nodes with one CPU each, on the loopback address."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from beholder.machine.cluster import LOOPBACK_ALONE

os.environ[LOOPBACK_ALONE] = os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray looks once, when it is imported


@pytest.fixture(scope="module", autouse=True)
def home(_home_of_all: Path) -> Path:
    """The home in which the nodes are started, so that tests and workers have one cache."""
    return _home_of_all


@pytest.fixture(scope="session")
def _cluster(_home_of_all: Path) -> Iterator[str]:
    """Its address. Its workers live in the home of the tests, as the nodes are started in it."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1"}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    yield cluster.address
    cluster.shutdown()


@pytest.fixture
def two_nodes(_cluster: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the cluster, which RAY_ADDRESS is for the test."""
    monkeypatch.setenv("RAY_ADDRESS", _cluster)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    return _cluster
