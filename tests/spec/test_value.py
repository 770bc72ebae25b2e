"""Values: what every frozen value of the project promises."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.spec.descriptor import Descriptor
from tiffin.spec.platform import Platform
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Point(Value):
    """A value with a required field, defaults, and a mapping."""

    x: int
    y: int = 0
    labels: Mapping[str, str] = EMPTY

    @property
    def sum(self) -> int:
        """A property beside fields."""
        return self.x + self.y


class Named(Point):
    """A value that extends another."""

    name: str = "origin"


points = st.builds(
    Point, x=st.integers(), y=st.integers(), labels=st.just(EMPTY) | st.dictionaries(st.text(), st.text())
)


@given(points, points)
def test_values_are_equal_when_their_fields_are(one: Point, other: Point) -> None:
    """Equality is by class and fields, and a replaced copy is a new value."""
    assert (one == other) == (one.as_dict() == other.as_dict())
    assert one == Point(**one.as_dict())
    assert one.replace(x=other.x, y=other.y, labels=other.labels) == other
    assert one != Named(x=one.x, y=one.y, labels=one.labels)


@given(points)
def test_values_survive_pickle_and_copy(point: Point) -> None:
    """A value goes to another process, or is copied, whole; also one whose mapping is the default."""
    assert pickle.loads(pickle.dumps(point)) == copy.deepcopy(point) == copy.copy(point) == point  # noqa: S301 - our own bytes


def test_a_value_does_not_change() -> None:
    """Neither a field nor a new name can be assigned or deleted."""
    point = Point(x=1)
    for name in ("x", "z"):
        with pytest.raises(AttributeError):
            setattr(point, name, 2)
    with pytest.raises(AttributeError):
        del point.x
    with pytest.raises(TypeError):
        point.labels["a"] = "b"  # type: ignore[index]
    assert point.x == 1


def test_a_value_is_made_of_exactly_its_fields() -> None:
    """Missing and unknown fields, and fields without their name, are programming errors."""
    for wrong in ({}, {"x": 1, "z": 2}, {"y": 1, "z": 2}):
        with pytest.raises(TypeError):
            Point(**wrong)
    with pytest.raises(TypeError):
        Point(1)  # type: ignore[call-arg, misc]


def test_a_subclass_adds_fields_after_its_base() -> None:
    """Fields and defaults are inherited, and shown in order."""
    assert repr(Named(x=1)) == "Named(x=1, y=0, labels=mappingproxy({}), name='origin')"
    assert Named(x=1, name="a").sum == 1


def test_values_can_be_keys() -> None:
    """Equal values hash alike; a filled mapping in it is no reason to refuse."""
    digest = "sha256:" + "a" * 64
    one = Descriptor(media_type="t", digest=digest, size=1, annotations={"a": "b"})
    same = Descriptor(media_type="t", digest=digest, size=1, annotations={"a": "b"})
    assert len({one, same, Platform.here(), Platform.here()}) == 2
