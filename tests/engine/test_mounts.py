"""`-v`, `--mount` and VOLUME become one list of mounts, or docker's error."""

from __future__ import annotations

import pytest

from tiffin.engine import mounts
from tiffin.errors import InvalidArgument
from tiffin.spec.container import ContainerConfig, HostConfig
from tiffin.spec.mount import Mount


@pytest.mark.parametrize(
    ("text", "kind", "source", "target", "read_only"),
    [
        ("/a:/b", "bind", "/a", "/b", False),
        ("/a/:/b/:ro", "bind", "/a", "/b", True),
        ("data:/b", "volume", "data", "/b", False),
        ("data:/b:ro,nocopy", "volume", "data", "/b", True),
        ("/only", "volume", "", "/only", False),
    ],
)
def test_a_bind_string_is_read_as_docker_does(
    text: str, kind: str, source: str, target: str, *, read_only: bool
) -> None:
    """A source that starts with a slash is a host path, any other a volume's name."""
    mount = mounts.parse_bind(text)
    assert (mount.type, mount.source, mount.target, mount.read_only) == (kind, source, target, read_only)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "invalid volume specification"),
        ("a:b:c:d", "invalid volume specification"),
        ("/a:b", "mount path must be absolute"),
        ("/a:/", "destination can't be '/'"),
        ("/a:/b:often", "invalid mode: often"),
        ("./rel:/b", "includes invalid characters for a local volume name"),
    ],
)
def test_a_wrong_bind_string_says_what_is_wrong(text: str, words: str) -> None:
    """Each malformed `-v` is refused with docker's sentence."""
    with pytest.raises(InvalidArgument, match=words.replace("(", r"\(")):
        mounts.parse_bind(text)


def test_the_users_mount_replaces_the_images_volume() -> None:
    """A VOLUME of the image is anonymous unless the user mounts something at the same path."""
    config = ContainerConfig(volumes=("/data", "/other", "/fast"))
    host = HostConfig(binds=("/srv:/data",), tmpfs={"/fast": ""})
    found = {m.target: (m.type, m.source) for m in mounts.wanted(config, host)}
    assert found == {"/data": ("bind", "/srv"), "/other": ("volume", "")}


def test_two_mounts_at_one_place_are_refused() -> None:
    """The same destination twice is an error, not a silent winner."""
    host = HostConfig(binds=("/a:/x",), mounts=(Mount(type="tmpfs", target="/x/"),))
    with pytest.raises(InvalidArgument, match="Duplicate mount point: /x"):
        mounts.wanted(ContainerConfig(), host)


def test_a_mount_keeps_docker_defaults_of_tmpfs() -> None:
    """A tmpfs mount is noexec, nosuid, nodev and 1777 unless told otherwise."""
    options = mounts.tmpfs_options(Mount(type="tmpfs", target="/t", tmpfs_size=4096))
    assert options == ("noexec", "nosuid", "nodev", "size=4096", "mode=1777")
