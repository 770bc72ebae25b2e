"""What is said wrongly is refused in docker's words, with its exit code, before anything is made."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.rungs import needs_cgroups, needs_root

if TYPE_CHECKING:
    from tests.cli.conftest import Tiffin

_ABSOLUTE = "mount path must be absolute"
_CONFIG = "invalid mount config for type"
_PASSWD = "no matching entries in passwd file"
_CPUS = (
    f"range of cpus is from 0.01 to {os.cpu_count()}.00, as there are only {os.cpu_count()} cpus available"
)
# Flags of `run`, and what is said of them (docker's capitals differ between its versions).
_RUN = (
    ("-m 1x", 'invalid argument "1x" for "-m, --memory" flag: invalid suffix: \'x\''),
    ("--shm-size 1..2", 'invalid argument "1..2" for "--shm-size" flag: strconv.parsefloat: parsing "1..2"'),
    ("--health-interval 5", 'for "--health-interval" flag: time: missing unit in duration "5"'),
    ("--health-interval 1us", "interval in healthcheck cannot be less than 1ms"),
    ("--stop-signal NOPE", "invalid signal: nope"),
    ("--stop-timeout x", 'invalid argument "x" for "--stop-timeout" flag: strconv.parseint'),
    ("--env-file /no/where", "open /no/where: no such file or directory"),
    ("--user nobodyx", f"unable to find user nobodyx: {_PASSWD}"),
    ("--user 1:nobodyx", "unable to find group nobodyx: no matching entries in group file"),
    ("--user 5000000000", "uids and gids must be in range 0-2147483647"),
    ("--group-add nobodyx", "unable to find group nobodyx"),
    ("--ulimit nope=1", 'invalid argument "nope=1" for "--ulimit" flag: invalid ulimit type: nope'),
    ("--ulimit nofile", "invalid ulimit argument: nofile"),
    ("--ulimit nofile=x", 'flag: strconv.parseint: parsing "x": invalid syntax'),
    (
        "--ulimit nofile=1:2:3",
        "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
    ),
    ("--ulimit nofile=-1:5", "less than or equal to hard limit: soft: -1 (unlimited), hard: 5"),
    ("--ulimit nofile=9:8", "ulimit soft limit must be less than or equal to hard limit: 9 > 8"),
    ("--cap-add NOPE", 'invalid capadd: unknown capability: "cap_nope"'),
    ("--security-opt nope=1", 'invalid --security-opt 2: "nope=1"'),
    (
        "--security-opt seccomp=/no/where",
        "opening seccomp profile (/no/where) failed: open /no/where: no such",
    ),
    ("--rm --restart always", "conflicting options: cannot specify both --restart and --rm"),
    ("--restart sometimes", "invalid restart policy: unknown policy 'sometimes'"),
    ("--network host --uts container:x", "--uts: invalid uts mode"),
    ("--network none --network host", "container cannot be connected to"),
    ("-v /a:/b:zz", "invalid mode: zz"),
    (
        "-v x:y",
        f"invalid volume specification: 'x:y': {_CONFIG} \"volume\": invalid mount path: 'y' {_ABSOLUTE}",
    ),
    (
        "-v /x:y",
        f"invalid volume specification: '/x:y': {_CONFIG} \"bind\": invalid mount path: 'y' {_ABSOLUTE}",
    ),
    ("-v y", f"invalid volume specification: 'y': {_CONFIG} \"volume\": invalid mount path: 'y' {_ABSOLUTE}"),
    ("-v /x:/", f"'/x:/': {_CONFIG} \"bind\": invalid specification: destination can't be '/'"),
    ("-v :/y", "invalid spec: :/y: empty section between colons"),
    ("-v /x:/y:ro:rw", "invalid spec: /x:/y:ro:rw: too many colons"),
    ("--mount type=bind,target=/x", "field source must not be empty"),
    ("--mount type=bind,source=/no/where,target=/x", "bind source path does not exist: /no/where"),
    ("--tmpfs x", "invalid mount path: 'x' mount path must be absolute"),
    ("-w here", "the working directory 'here' is invalid, it needs to be an absolute path"),
    ("-p 99999:80", "invalid hostport: 99999"),
    ("--log-driver nope", "logger: no log driver named 'nope' is registered"),
    ("--runtime nope", "unknown or invalid runtime name: nope"),
    ("--oom-score-adj 5000", "invalid value 5000, range for oom score adj is [-1000, 1000]"),
)
_LIMITS = (
    ("-m 5m", "minimum memory limit allowed is 6mb"),
    ("-m 64m --memory-swap 32m", "minimum memoryswap limit should be larger than memory limit, see usage"),
    ("--memory-swap 64m", "you should always set the memory limit when using memoryswap limit, see usage"),
    ("-m 64m --memory-reservation 1g", "minimum memory limit can not be less than memory reservation limit"),
    ("--cpus 1000", _CPUS),
    ("--cpus 1 --cpu-quota 5000", "conflicting options: nano cpus and cpu quota cannot both be set"),
    (
        "--cpu-period 10",
        "cpu cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    ),
    ("--cpu-quota 10", "cpu cfs quota can not be less than 1ms (i.e. 1000)"),
    ("--cpuset-cpus 4096", "requested cpus are not available - requested 4096, available: 0"),
    ("--cpuset-cpus x", "invalid value x for cpuset cpus"),
    ("--blkio-weight 5", "range of blkio weight is from 10 to 1000"),
    ("--memory-swappiness 200", "invalid value: 200, valid memory swappiness range is 0-100"),
)
_DEVICES = (
    (
        "--device /dev/nope",
        'error gathering device information while adding custom device "/dev/nope": no such file',
    ),
    ("--device /dev/null:/x:q", "invalid device specification: /dev/null:/x:q"),
    ("--device-cgroup-rule nope", "invalid device cgroup format 'nope'"),
)


def refused(tiffin: Tiffin, flags: str, sentence: str) -> None:
    """See `run` refuse flags; what a start finds out leaves one that never ran, as docker's."""
    said = tiffin.wrong("run", "--name", "wrong", *flags.split(), "box:1", "true", code=125)
    left = tiffin("ps", "-a", "--filter", "name=wrong", "--format", "{{.State}}")
    if left:
        tiffin("rm", "wrong")
    assert sentence in said.lower()
    assert left in {"", "created\n"}


@pytest.mark.parametrize(("flags", "sentence"), _RUN, ids=lambda value: value[:20])
def test_a_wrong_flag_of_run(tiffin: Tiffin, flags: str, sentence: str) -> None:
    """Exit code 125, docker's sentence, no container."""
    refused(tiffin, flags, sentence)


@needs_cgroups
@pytest.mark.parametrize(("flags", "sentence"), _LIMITS, ids=lambda value: value[:20])
def test_a_limit_that_cannot_be(tiffin: Tiffin, flags: str, sentence: str) -> None:
    """Below the least, above what the host has, or against each other."""
    refused(tiffin, flags, sentence)


@needs_root
@pytest.mark.parametrize(("flags", "sentence"), _DEVICES, ids=lambda value: value[:20])
def test_a_device_that_is_none(tiffin: Tiffin, flags: str, sentence: str) -> None:
    """Missing on the host, or asked for in words that are none."""
    refused(tiffin, flags, sentence)
