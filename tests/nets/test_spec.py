"""A net as a value."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.nets.spec import NetSpec, Wants

sides = st.integers(1, 512)
jsonable = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(
    st.text(max_size=9),
    sides,
    sides,
    sides,
    sides,
    st.floats(0.05, 16),
    st.dictionaries(st.text(max_size=4), jsonable, max_size=3),
)
def test_plain_values_are_enough_to_make_it_again(
    name: str, c: int, h: int, w: int, k: int, width: float, args: dict[str, object]
) -> None:
    spec = NetSpec(name, c, h, w, k, width=width, args=args)
    assert NetSpec(**json.loads(json.dumps(spec.json()))) == spec


def test_one_channel_takes_the_average_of_three() -> None:
    want = Wants(mean=(0.1, 0.2, 0.6), std=(0.2, 0.2, 0.5))
    assert want.normalisation(3) == ((0.1, 0.2, 0.6), (0.2, 0.2, 0.5))
    mean, std = want.normalisation(1) or ((), ())
    assert mean == pytest.approx((0.3,))
    assert std == pytest.approx((0.3,))
    assert Wants().normalisation(3) is None


@pytest.mark.parametrize(
    ("want", "device", "size"),
    [
        (Wants(size=(224, 224)), "cpu", (192, 192)),
        (Wants(size=(256, 128)), "cpu", (224, 96)),
        (Wants(size=(224, 224)), "cuda", (224, 224)),
        (Wants(size=(224, 224), flexible=False), "cpu", (224, 224)),
        (Wants(size=(96, 224)), "cpu", (96, 224)),
        (Wants(), "cpu", None),
    ],
)
def test_a_cpu_takes_smaller_pictures_where_the_net_lets_it(want: Wants, device: str, size: tuple[int, int] | None) -> None:
    assert want.size_on(device) == size
