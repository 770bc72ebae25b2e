"""Who a process is: docker's lookups and sentences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import InvalidArgument
from tiffin.runtime.user import User, resolve

FILES = {
    "/etc/passwd": (
        b"# people\nroot:x:0:0:root:/root:/bin/sh\nbroken line\nmail:x:8:12:mail:/var/mail:/bin/false\n"
        b"user:x:1000:1000::/home/user:/bin/sh\n1234:x:77:77:a name of digits:/digits:\nbare:x:5:6\n"
    ),
    "/etc/group": b"root:x:0:\nwheel:x:10:root,user\nmail:x:12:\nusers:x:100:user\nuser:x:1000:user\n",
}


def find(text: str) -> User:
    return resolve(text, FILES.get)


@pytest.mark.parametrize(
    ("text", "uid", "gid", "groups", "home"),
    [
        ("", 0, 0, (0, 10), "/root"),
        ("0", 0, 0, (0, 10), "/root"),
        ("root", 0, 0, (0, 10), "/root"),
        ("user", 1000, 1000, (1000, 10, 100), "/home/user"),
        ("1000", 1000, 1000, (1000, 10, 100), "/home/user"),
        ("user:mail", 1000, 12, (12,), "/home/user"),
        ("mail:users", 8, 100, (100,), "/var/mail"),
        ("user:55", 1000, 55, (55,), "/home/user"),
        ("4321", 4321, 0, (0,), "/"),
        ("4321:8765", 4321, 8765, (8765,), "/"),
        ("1234", 77, 77, (77,), "/digits"),
        ("bare", 5, 6, (6,), "/"),
        ("user:", 1000, 1000, (1000, 10, 100), "/home/user"),
    ],
)
def test_docker_finds(text: str, uid: int, gid: int, groups: tuple[int, ...], home: str) -> None:
    """Names, numbers, and both with a group; supplementary groups only without an explicit one."""
    found = find(text)
    assert (found.uid, found.gid, found.groups, found.home) == (uid, gid, groups, home)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nobody", "unable to find user nobody: no matching entries in passwd file"),
        ("user:nogroup", "unable to find group nogroup: no matching entries in group file"),
        ("-1", "uids and gids must be in range 0-2147483647"),
        ("2147483648", "uids and gids must be in range 0-2147483647"),
        ("0:2147483648", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_docker_refuses(text: str, sentence: str) -> None:
    """Docker's own sentences."""
    with pytest.raises(InvalidArgument) as caught:
        find(text)
    assert caught.value.message == sentence


def test_an_image_without_files() -> None:
    """A scratch image has neither file: numbers work, and so does nothing said."""
    nothing: dict[str, bytes] = {}
    assert resolve("", nothing.get) == User(uid=0, gid=0, groups=(0,), home="/")
    assert resolve("7:8", nothing.get).gid == 8


@given(st.text(max_size=20), st.binary(max_size=200), st.binary(max_size=200))
def test_hostile_files_are_no_crash(text: str, passwd: bytes, group: bytes) -> None:
    """Whatever stands in an image's files, the answer is a user or a sentence."""
    files = {"/etc/passwd": passwd, "/etc/group": group}
    try:
        found = resolve(text, files.get)
    except InvalidArgument:
        return
    assert isinstance(found.uid, int)
    assert found.groups[0] == found.gid
