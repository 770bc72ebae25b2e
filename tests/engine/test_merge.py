"""What a container runs when the user and the image both say something."""

from __future__ import annotations

import pytest

from tiffin.engine.merge import merge
from tiffin.errors import InvalidArgument
from tiffin.spec.container import ContainerConfig, Healthcheck

IMAGE = ContainerConfig(
    env=("PATH=/bin", "MODE=slow"),
    entrypoint=("/entry",),
    cmd=("serve",),
    user="www",
    working_dir="/srv",
    labels={"a": "image", "b": "image"},
    exposed_ports=("80/tcp",),
    volumes=("/data",),
    stop_signal="SIGQUIT",
    healthcheck=Healthcheck(test=("CMD", "probe"), interval=5),
)


def test_a_silent_user_gets_the_image() -> None:
    """Everything that the user leaves open comes from the image."""
    merged = merge(ContainerConfig(image="x"), IMAGE)
    assert merged.argv == ("/entry", "serve")
    assert (merged.user, merged.working_dir, merged.stop_signal) == ("www", "/srv", "SIGQUIT")
    assert merged.volumes == ("/data",)


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "argv"),
    [
        (None, ("echo",), ("/entry", "echo")),
        (("sh",), None, ("sh",)),
        (("sh",), ("-c", "x"), ("sh", "-c", "x")),
        (("",), ("echo",), ("echo",)),
        ((), None, ("serve",)),
    ],
)
def test_an_entrypoint_drops_the_images_command(
    entrypoint: tuple[str, ...] | None, cmd: tuple[str, ...] | None, argv: tuple[str, ...]
) -> None:
    """A user's entrypoint drops the image's cmd; an empty one clears the image's entrypoint."""
    merged = merge(ContainerConfig(entrypoint=entrypoint, cmd=cmd), IMAGE)
    assert merged.argv == argv


def test_nothing_to_execute_is_refused_in_dockers_words() -> None:
    """An image without a command and a user without one is an error before anything is made."""
    with pytest.raises(InvalidArgument, match="no command specified"):
        merge(ContainerConfig(), ContainerConfig())
    with pytest.raises(InvalidArgument, match="no command specified"):
        merge(ContainerConfig(entrypoint=("",)), IMAGE.replace(cmd=None))


def test_variables_and_labels_of_the_user_win() -> None:
    """The user's variables stand first and hide the image's of the same name; labels likewise."""
    merged = merge(ContainerConfig(env=("MODE=fast", "X=1"), labels={"a": "user"}), IMAGE)
    assert merged.env == ("MODE=fast", "X=1", "PATH=/bin")
    assert merged.labels == {"a": "user", "b": "image"}


def test_health_settings_are_merged_one_by_one() -> None:
    """A user who changes only the interval keeps the image's probe."""
    merged = merge(ContainerConfig(healthcheck=Healthcheck(interval=9)), IMAGE)
    assert merged.healthcheck == Healthcheck(test=("CMD", "probe"), interval=9)
