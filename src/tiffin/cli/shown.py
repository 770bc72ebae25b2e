"""Which session shows that a command, or a flag, does what docs/compatibility.md says.

A test reads the sessions and holds this page to what they really do.
"""

from __future__ import annotations

SESSIONS: dict[str, dict[str, str]] = {
    "container unpublish": {
        "test_session_networks.py": "",
    },
    "container update": {
        "test_session_life.py": (
            "cpu-period cpu-quota cpu-shares cpus cpuset-cpus cpuset-mems memory memory-reservation "
            "memory-swap pids-limit restart"
        ),
        "test_session_sharing.py": "blkio-weight cpu-rt-period cpu-rt-runtime",
    },
    "system events": {
        "test_session_life.py": "filter format since until",
    },
    "container stats": {
        "test_session_life.py": "all format no-stream no-trunc",
    },
    "container port": {
        "test_session_life.py": "",
    },
    "container diff": {
        "test_session_life.py": "",
    },
    "container top": {
        "test_session_life.py": "",
    },
    "container unpause": {
        "test_session_life.py": "",
    },
    "container pause": {
        "test_session_life.py": "",
    },
    "builder debug": {
        "test_builder_debug.py": "secret ssh step",
    },
    "builder du": {
        "test_builder_debug.py": "verbose",
    },
    "builder explain": {
        "test_build_explain.py": "format",
    },
    "builder prune": {
        "test_prune.py": "dry-run filter keep-storage",
        "test_session.py": "all force",
    },
    "container attach": {
        "test_session.py": "",
        "test_session_flags.py": "detach-keys no-stdin sig-proxy",
    },
    "container commit": {
        "test_tarball.py": "author change message pause",
    },
    "container cp": {
        "test_cp.py": "archive follow-link quiet",
    },
    "container create": {
        "test_session.py": "name",
        "test_session_docker.py": "cidfile domainname expose label label-file stop-timeout",
        "test_session_flags.py": "cpus memory memory-swap pids-limit shm-size",
    },
    "container egress": {
        "test_session_egress.py": "allow format revoke",
    },
    "container exec": {
        "test_session.py": "env interactive",
        "test_session_docker.py": "user workdir",
        "test_session_flags.py": "detach detach-keys env-file privileged tty",
    },
    "container export": {
        "test_tarball.py": "output",
    },
    "container fork": {
        "test_fork.py": "name number",
    },
    "container inspect": {
        "test_as_docker.py": "as",
        "test_session_docker.py": "",
        "test_session_flags.py": "format size",
    },
    "container kill": {
        "test_session.py": "signal",
    },
    "container logs": {
        "test_session.py": "timestamps",
        "test_session_docker.py": "details since tail until",
        "test_session_flags.py": "follow",
    },
    "container ls": {
        "test_session.py": "all filter format no-trunc quiet",
        "test_session_flags.py": "last latest size",
    },
    "container prune": {
        "test_prune.py": "dry-run",
        "test_session.py": "force",
        "test_session_flags.py": "filter",
    },
    "container publish": {
        "test_session_networks.py": "",
    },
    "container rename": {
        "test_session.py": "",
    },
    "container restart": {
        "test_session.py": "timeout",
        "test_session_flags.py": "signal",
    },
    "container rm": {
        "test_session.py": "force",
        "test_session_flags.py": "volumes",
        "test_prune.py": "dry-run",
    },
    "container run": {
        "test_session.py": "detach entrypoint env hostname interactive pull rm tty user volume workdir",
        "test_mounts.py": "volumes-from",
        "test_session_docker.py": "env-file init name platform quiet read-only security-opt tmpfs",
        "test_volume.py": "volume-driver",
        "test_session_egress.py": "egress",
        "test_session_flags.py": (
            "attach cap-add cap-drop cidfile cpus detach-keys disable-content-trust domainname expose "
            "label label-file memory memory-swap mount network pids-limit privileged runtime shm-size "
            "sig-proxy stop-signal stop-timeout"
        ),
        "test_session_networks.py": (
            "ip ip6 link link-local-ip mac-address network-alias publish publish-all"
        ),
        "test_session_life.py": (
            "add-host annotation cpu-period cpu-quota cpu-shares cpuset-cpus cpuset-mems device dns "
            "dns-option dns-search group-add health-cmd health-interval health-retries "
            "health-start-interval health-start-period health-timeout log-driver log-opt "
            "memory-reservation no-healthcheck oom-score-adj restart sysctl ulimit"
        ),
        "test_session_sharing.py": (
            "blkio-weight blkio-weight-device cgroup-parent cgroupns cpu-rt-period cpu-rt-runtime "
            "device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops gpus "
            "ipc isolation memory-swappiness on-unhealthy oom-kill-disable pid userns uts"
        ),
    },
    "container start": {
        "test_session.py": "attach",
        "test_session_flags.py": "detach-keys interactive",
    },
    "container stop": {
        "test_session.py": "timeout",
        "test_session_flags.py": "signal",
    },
    "container wait": {
        "test_session.py": "",
    },
    "doctor": {
        "test_session_flags.py": "json",
    },
    "fsck": {
        "test_session.py": "",
        "test_session_flags.py": "repair",
    },
    "generate systemd": {
        "test_session_flags.py": "",
    },
    "image build": {
        "test_build_check.py": "call check",
        "test_build_language.py": "allow build-context",
        "test_build_output.py": (
            "add-host annotation attest cgroup-parent cpu-period cpu-quota cpu-shares cpuset-cpus "
            "cpuset-mems load memory memory-swap output provenance push sbom shm-size ulimit"
        ),
        "test_builder_debug.py": "on-failure",
        "test_build_explain.py": "explain format metadata-file no-cache-filter",
        "test_session.py": "quiet tag",
        "test_session_docker.py": "build-arg file label network no-cache progress reproducible secret ssh",
        "test_session_flags.py": (
            "compress disable-content-trust force-rm iidfile load platform pull rm target"
        ),
    },
    "image blame": {
        "test_anatomy.py": "format no-trunc",
    },
    "image diff": {
        "test_anatomy.py": "format",
    },
    "image history": {
        "test_anatomy.py": "waste",
        "test_session.py": "format no-trunc",
        "test_session_docker.py": "human",
        "test_session_flags.py": "quiet",
    },
    "image import": {
        "test_tarball.py": "change message platform",
    },
    "image inspect": {
        "test_session.py": "",
        "test_session_flags.py": "format",
    },
    "image load": {
        "test_session.py": "input",
        "test_session_docker.py": "quiet",
    },
    "image ls": {
        "test_anatomy.py": "tree",
        "test_session.py": "filter format quiet",
        "test_session_flags.py": "all no-trunc",
        "test_transfer.py": "digests",
    },
    "image prune": {
        "test_prune.py": "dry-run",
        "test_session.py": "force",
        "test_session_flags.py": "all filter",
    },
    "image pull": {
        "test_session_docker.py": "platform",
        "test_session_flags.py": "disable-content-trust quiet",
        "test_transfer.py": "all-tags plan",
    },
    "image push": {
        "test_session_docker.py": "quiet",
        "test_session_flags.py": "disable-content-trust",
        "test_transfer.py": "all-tags compression compression-level",
    },
    "image rm": {
        "test_session.py": "",
        "test_session_docker.py": "force",
        "test_session_flags.py": "no-prune",
        "test_prune.py": "dry-run",
    },
    "image save": {
        "test_session.py": "output",
    },
    "image tag": {
        "test_session.py": "",
    },
    "manifest annotate": {
        "test_manifest.py": "arch os os-features os-version variant",
    },
    "manifest create": {
        "test_manifest.py": "amend insecure",
    },
    "manifest inspect": {
        "test_manifest.py": "insecure verbose",
    },
    "manifest push": {
        "test_manifest.py": "insecure purge",
    },
    "manifest rm": {
        "test_manifest.py": "",
    },
    "inspect": {
        "test_as_docker.py": "as",
        "test_session.py": "format",
        "test_session_docker.py": "size type",
    },
    "login": {
        "test_session_flags.py": "password username",
        "test_transfer.py": "password-stdin",
    },
    "logout": {
        "test_session_flags.py": "",
    },
    "serve": {
        "test_session_serve.py": "group host log-level print-env",
    },
    "registry serve": {
        "test_registry.py": "addr htpasswd root tls-cert tls-key",
    },
    "network connect": {
        "test_session_networks.py": "alias gw-priority ip ip6 link link-local-ip",
    },
    "network create": {
        "test_session_networks.py": (
            "attachable aux-address config-from config-only driver gateway internal ip-range ipam-driver "
            "ipv4 ipv6 label opt scope subnet"
        ),
    },
    "network disconnect": {
        "test_session_networks.py": "force",
    },
    "network inspect": {
        "test_session_networks.py": "format verbose",
    },
    "network ls": {
        "test_session_networks.py": "filter format no-trunc quiet",
    },
    "network prune": {
        "test_session_networks.py": "dry-run filter force",
    },
    "network rm": {
        "test_session_networks.py": "force",
    },
    "system df": {
        "test_prune.py": "format verbose",
    },
    "system info": {
        "test_session.py": "format",
    },
    "system prune": {
        "test_prune.py": "all dry-run filter force volumes",
    },
    "system reset": {
        "test_session_flags.py": "force",
    },
    "system start": {
        "test_session_flags.py": "",
    },
    "version": {
        "test_session.py": "format",
    },
    "volume clone": {
        "test_volume.py": "",
    },
    "volume create": {
        "test_session.py": "label",
        "test_session_flags.py": "driver",
        "test_volume.py": "opt",
    },
    "volume export": {
        "test_volume.py": "output",
    },
    "volume import": {
        "test_volume.py": "",
    },
    "volume inspect": {
        "test_session.py": "format",
    },
    "volume ls": {
        "test_session.py": "quiet",
        "test_session_flags.py": "filter format",
    },
    "volume prune": {
        "test_prune.py": "all dry-run filter force",
    },
    "volume rename": {
        "test_volume.py": "",
    },
    "volume rm": {
        "test_session.py": "",
        "test_session_flags.py": "force",
        "test_prune.py": "dry-run",
    },
}
"""Canonical command -> file below tests/cli -> the flags that it gives; each flag by the first file."""

_AS = {"container create": "container run"}
"""Commands that share another's flags and what they mean."""


def of_command(name: str) -> str:
    """Return the file that shows a command, "" for none."""
    return next(iter(SESSIONS.get(name, ())), "")


def of_flag(name: str, flag: str) -> str:
    """Return the file that shows a flag of a command, "" for none."""
    for file, flags in SESSIONS.get(name, {}).items():
        if flag in flags.split():
            return file
    return of_flag(_AS[name], flag) if name in _AS else ""
