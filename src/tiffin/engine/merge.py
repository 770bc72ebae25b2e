"""What a container runs: the user's words over the image's, by docker's rules."""

from __future__ import annotations

from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiffin.spec.container import ContainerConfig, Healthcheck


def merge(config: ContainerConfig, image: ContainerConfig) -> ContainerConfig:
    """Return the user's config completed by the image's.

    An entrypoint from the user drops the image's cmd; `--entrypoint ""` (one empty word) clears the
    image's. Raises InvalidArgument when nothing is left to execute.
    """
    cmd, entrypoint = config.cmd, config.entrypoint
    if not entrypoint:
        cmd = cmd or image.cmd
        if entrypoint is None:
            entrypoint = image.entrypoint
    if entrypoint == ("",):
        entrypoint = None
    if not (entrypoint or ()) + (cmd or ()):
        message = "no command specified"
        raise InvalidArgument(message, hint="the image names none: give one after the image's name")
    return config.replace(
        cmd=cmd,
        entrypoint=entrypoint or None,
        user=config.user or image.user,
        env=_merge_env(config.env, image.env),
        labels={**image.labels, **config.labels},
        exposed_ports=_union(config.exposed_ports, image.exposed_ports),
        volumes=_union(config.volumes, image.volumes),
        working_dir=config.working_dir or image.working_dir,
        stop_signal=config.stop_signal or image.stop_signal,
        stop_timeout=image.stop_timeout if config.stop_timeout is None else config.stop_timeout,
        healthcheck=_merge_health(config.healthcheck, image.healthcheck),
        shell=config.shell or image.shell,
    )


def _merge_env(own: tuple[str, ...], image: tuple[str, ...]) -> tuple[str, ...]:
    """Put the user's variables first, then the image's that they do not name (docker's order)."""
    named = {entry.partition("=")[0] for entry in own}
    return own + tuple(entry for entry in image if entry.partition("=")[0] not in named)


def _union(own: Iterable[str], image: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({*own, *image}))


def _merge_health(own: Healthcheck | None, image: Healthcheck | None) -> Healthcheck | None:
    if own is None or image is None:
        return own or image
    return own.replace(
        test=own.test or image.test,
        interval=own.interval or image.interval,
        timeout=own.timeout or image.timeout,
        retries=own.retries or image.retries,
        start_period=own.start_period or image.start_period,
        start_interval=own.start_interval or image.start_interval,
    )
