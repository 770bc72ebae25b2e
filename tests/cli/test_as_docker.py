"""`inspect --as docker`: reading the command gives back what it was made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis
from hypothesis import strategies as st

from tiffin.cli import as_docker, options, parser
from tiffin.cli.run import RUN

if TYPE_CHECKING:
    from tests.cli.conftest import Tiffin

WORD = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=9)
PLAIN = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)
FLAGS = st.one_of(
    st.sampled_from(
        (
            *("-i", "-t", "-d", "--rm", "--init", "--init=false", "--privileged", "--read-only", "-P"),
            *("--no-healthcheck", "--memory=64m", "--memory-swap=-1", "--cpus=1.5", "--cpus=0.25"),
            *("--pids-limit=-1", "--ipc=host", "--pid=container:x", "--uts=host", "--cgroupns=private"),
            *("--network=none", "--network=host", "--shm-size=1g", "--stop-timeout=0", "--stop-signal=INT"),
            *("--ulimit=nofile=10:20", "--ulimit=core=-1", "--device=/dev/null", "--device=/dev/fuse:/x:rw"),
            *("--device=a.com/b=c", "--gpus=all", "--gpus=2", '--gpus="device=0,1"', "--cap-add=net_admin"),
            *("--cap-drop=ALL", "--security-opt=no-new-privileges", "--security-opt=systempaths=unconfined"),
            *("--security-opt=seccomp=unconfined", "--sysctl=net.core.x=1", "--group-add=7", "-p=80"),
            *("-p=127.0.0.1:8080:80/udp", "-p=[::1]:90:91", "-p=4000-4001:5000-5001", "--expose=5-6"),
            *("--tmpfs=/run", "--tmpfs=/t:size=4k,exec", "-v=/data", "-v=vol:/x:ro", "-v=/a:/b:rslave,ro"),
            *("--mount=type=bind,source=/a,target=/b,readonly,bind-propagation=shared", "--dns=1.1.1.1"),
            *("--mount=type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=755", "--add-host=a:1.2.3.4"),
            *("--mount=type=volume,target=/v,volume-nocopy,volume-label=k=v", "--restart=on-failure:3"),
            *("--restart=always", "--health-cmd=a b", "--health-interval=90s", "--health-retries=2"),
            *("--log-driver=local", "--log-opt=max-size=1m", "--oom-kill-disable", "--oom-score-adj=5"),
            *("--memory-swappiness=0", "--blkio-weight=20", "--device-read-bps=/dev/a:1mb", "-a=stderr"),
            *("--device-cgroup-rule=c 1:3 rwm", "--on-unhealthy=kill", "--entrypoint=prog"),
        )
    ),
    st.builds("--env={}={}".format, PLAIN, WORD),
    st.builds("--label={}={}".format, PLAIN, WORD),
    st.builds("--hostname={}".format, PLAIN),
    st.builds("--user={}".format, PLAIN),
    st.builds("--workdir=/{}".format, WORD),
    st.builds("--annotation={}={}".format, PLAIN, WORD),
)


@hypothesis.given(flags=st.lists(FLAGS, max_size=6, unique=True), command=st.lists(WORD, max_size=3))
def test_what_is_read_back_is_what_was_said(flags: list[str], command: list[str]) -> None:
    """Both configurations of a container come back from its command line, whatever it was made with."""
    names = {flag.partition("=")[0] for flag in flags}
    hypothesis.assume(not ({"-d", "-a"} <= names or {"--rm", "--restart"} <= names))
    hypothesis.assume("--no-healthcheck" not in names or not any(n.startswith("--health") for n in names))

    def read(words: list[str]) -> tuple[object, object]:
        parsed = parser.parse(RUN, "run", words)
        return options.config(parsed, {}), options.host(parsed)

    config, host = read([*flags, "box:1", *command])
    assert read(as_docker.words(config, host)) == (config, host)  # type: ignore[arg-type]


def test_the_command_of_a_container(tiffin: Tiffin) -> None:
    """It has what was said and not what the image says; another word than docker is refused."""
    host = ("--network", "none", "--shm-size", "1m")
    made = ("--name", "kept", "-e", "A=b c", *host, "-v", "/data", "box:1", "echo", "a b")
    tiffin("run", *made)
    host_said = "--network=none --shm-size=1048576"
    said = f"docker run --name=kept '--env=A=b c' --volume=/data {host_said} box:1 echo 'a b'\n"
    assert tiffin("inspect", "--as", "docker", "kept") == said
    assert tiffin("container", "inspect", "--as", "docker", "kept") == said
    assert "is not a valid value for --as" in tiffin.wrong("inspect", "--as", "podman", "kept")
    tiffin("rm", "-v", "kept")
