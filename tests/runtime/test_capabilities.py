"""Capabilities as docker counts them."""

from __future__ import annotations

import pytest

from tiffin.errors import InvalidArgument, Unsupported
from tiffin.runtime.capabilities import ALL, DEFAULT, from_mask, granted, to_mask

HERE = tuple(name for name in ALL if name != "CAP_SYS_RESOURCE")


def test_the_default_mask_is_dockers() -> None:
    """The fourteen of every container, as the kernel shows them."""
    assert to_mask(DEFAULT) == 0xA80425FB
    assert set(from_mask(0xA80425FB)) == set(DEFAULT)
    assert to_mask(ALL) == (1 << 41) - 1


@pytest.mark.parametrize(
    ("add", "drop", "privileged", "expected"),
    [
        ((), (), False, set(DEFAULT)),
        (("net_admin",), (), False, {*DEFAULT, "CAP_NET_ADMIN"}),
        (("CAP_NET_ADMIN",), ("chown",), False, {*DEFAULT, "CAP_NET_ADMIN"} - {"CAP_CHOWN"}),
        (("ALL",), (), False, set(HERE)),
        (("all",), ("SYS_ADMIN",), False, set(HERE) - {"CAP_SYS_ADMIN"}),
        ((), ("ALL",), False, set()),
        (("CHOWN",), ("ALL",), False, {"CAP_CHOWN"}),
        ((), (), True, set(HERE)),
        ((), ("ALL",), True, set(HERE)),
    ],
)
def test_adding_and_dropping(
    add: tuple[str, ...],
    drop: tuple[str, ...],
    privileged: bool,  # noqa: FBT001 - a parameter
    expected: set[str],
) -> None:
    """ALL means what this engine has; privileged is all of that whatever is dropped."""
    assert set(granted(add, drop, privileged=privileged, available=HERE)) == expected


def test_what_is_unknown_or_not_there() -> None:
    """Docker's sentences for a name that isn't one, and for one that cannot be given here."""
    with pytest.raises(InvalidArgument, match='invalid CapAdd: unknown capability: "CAP_FLY"'):
        granted(("fly",), (), privileged=False, available=HERE)
    with pytest.raises(InvalidArgument, match='invalid CapDrop: unknown capability: "CAP_FLY"'):
        granted((), ("fly",), privileged=False, available=HERE)
    with pytest.raises(Unsupported, match="CAP_SYS_RESOURCE"):
        granted(("SYS_RESOURCE",), (), privileged=False, available=HERE)
