"""The list of nets."""

from beholder.nets.build import NETS
from beholder.nets.table import table


def test_parameters_and_flops_by_hand() -> None:
    rows = {row.name: row for row in table(size=28, channels=1, classes=10)}
    assert list(rows) == NETS.names()
    assert (rows["logistic"].parameters, rows["logistic"].flops) == (7850, 2 * 784 * 10)
    assert rows["mlp"].flops == 2 * (784 * 512 + 512 * 512 + 512 * 10)
    assert rows["cnn"].flops == 2 * (26 * 26 * 32 * 9 + 13 * 13 * 32 * 10)
    assert "max-pool" in rows["cnn"].about


def test_a_size_that_a_net_cannot_take_is_a_row_that_says_so() -> None:
    rows = {row.name: row for row in table(size=3, channels=1, classes=2)}
    assert rows["cnn"].parameters is None
    assert "too" in rows["cnn"].about or "cannot" in rows["cnn"].about
    assert rows["logistic"].parameters == 20
