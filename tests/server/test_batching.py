from __future__ import annotations

import threading
import time

from beholder.server.batching import Batcher, Sizes


def trained(sizes: Sizes, seconds: dict[int, float], *, waiting: int, runs: int = 200) -> list[int]:
    """Return the sizes that were chosen in the last runs, where a run of so many takes so long."""
    chosen = []
    for _ in range(runs):
        size = sizes.choose(waiting)
        sizes.learn(size, seconds[size])
        chosen.append(size)
    return chosen[-32:]


def test_the_size_that_is_fastest_a_picture_is_found() -> None:
    cpu = {1: 0.005, 2: 0.011, 4: 0.022, 8: 0.05}
    gpu = {1: 0.010, 2: 0.011, 4: 0.012, 8: 0.014}
    for seconds, waiting, best in ((cpu, 20, 1), (gpu, 20, 8), (gpu, 5, 4)):
        chosen = trained(Sizes(most=8, bound=1), seconds, waiting=waiting)
        assert chosen.count(best) >= len(chosen) - 1


def test_no_run_takes_longer_than_the_bound() -> None:
    sizes = Sizes(most=64, bound=0.1)
    slow = {2**k: 0.02 * 2**k * 0.99**k for k in range(7)}
    assert max(slow[size] for size in trained(sizes, slow, waiting=64)) <= 0.1


def test_a_stall_is_forgotten() -> None:
    sizes = Sizes(most=2, bound=1)
    sizes.learn(1, 0.01)
    sizes.learn(2, 0.9)
    assert sizes.choose(4) == 1
    chosen = trained(sizes, {1: 0.01, 2: 0.011}, waiting=4, runs=3000)
    assert chosen.count(2) >= len(chosen) - 1


def test_what_gathers_while_a_run_goes_goes_together_and_nothing_is_lost_at_the_end() -> None:
    runs: list[list[int]] = []

    def run(items: list[int]) -> None:
        time.sleep(0.002 + 0.001 * len(items) ** 0.5)
        runs.append(list(items))

    batcher: Batcher[int] = Batcher(run, sizes=Sizes(most=8, bound=1), wanted=lambda item: item % 10 != 7)
    threads = [threading.Thread(target=lambda k=k: [batcher.put(100 * k + n) for n in range(50)]) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batcher.close()
    done = [item for items in runs for item in items]
    assert sorted(done) == [n for n in range(350) if n % 100 < 50 and n % 10 != 7]
    assert max(map(len, runs)) <= 8
    assert max(map(len, runs)) >= 4
