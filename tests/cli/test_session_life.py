"""Containers that are started again, asked how they are, frozen, watched and changed, in real sessions."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

from tests.rungs import needs_cgroups, needs_ids

if TYPE_CHECKING:
    from tests.cli.conftest import Tiffin


def follow(tiffin: Tiffin, until: bytes, *words: str) -> bytes:
    """Start a command that does not end by itself; return what it says until a word comes, and end it."""
    with subprocess.Popen(tiffin.argv(*words), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = b""
        for line in process.stdout:
            said += line
            if until in line:
                break
        process.kill()
    return said


def test_a_policy_starts_again_what_died(tiffin: Tiffin) -> None:
    """--restart is kept, followed, and at odds with --rm."""
    tiffin("run", "-d", "--name", "again", "--restart", "on-failure:2", "box:1", "sh", "-c", "echo x; exit 3")
    # The log is followed until the keeper has gone: it holds every run.
    assert tiffin("logs", "-f", "again") == "x\n" * 3
    shown = json.loads(tiffin("inspect", "again"))[0]
    assert shown["RestartCount"] == 2
    assert shown["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert "cannot specify both --restart and --rm" in tiffin.wrong(
        "run", "--rm", "--restart", "always", "box:1", "true", code=125
    )
    tiffin("rm", "again")


def test_a_health_check_is_seen_by_everybody(tiffin: Tiffin) -> None:
    """The five settings reach inspect, the word reaches ps; --no-healthcheck turns an image's off."""
    tiffin(
        *("run", "-d", "--name", "well", "--health-cmd", "true", "--health-interval", "50ms"),
        *("--health-timeout", "5s", "--health-retries", "2", "--health-start-period", "1ms"),
        *("--health-start-interval", "20ms", "box:1", "sleep", "1000"),
    )
    follow(tiffin, b"health_status: healthy", "events", "--since", "1", "--filter", "container=well")
    assert tiffin("ps", "--filter", "health=healthy", "--format", "{{.Status}}").endswith("(healthy)\n")
    assert json.loads(tiffin("inspect", "-f", "{{json .Config.Healthcheck}}", "well")) == {
        "Test": ["CMD-SHELL", "true"],
        "Interval": 50_000_000,
        "Timeout": 5_000_000_000,
        "Retries": 2,
        "StartPeriod": 1_000_000,
        "StartInterval": 20_000_000,
    }
    tiffin("rm", "-f", "well")
    tiffin("run", "--name", "never", "--no-healthcheck", "box:1", "true")
    assert tiffin("inspect", "-f", "{{.Config.Healthcheck.Test}}", "never") == "[NONE]\n"
    tiffin("rm", "never")


@needs_cgroups
def test_pause_and_unpause(tiffin: Tiffin) -> None:
    """What is frozen says so, cannot be frozen twice, and goes on."""
    tiffin("run", "-d", "--name", "cold", "box:1", "sleep", "1000")
    assert tiffin("pause", "cold") == "cold\n"
    assert tiffin("ps", "--format", "{{.Status}}").endswith("(Paused)\n")
    assert "is already paused" in tiffin.wrong("pause", "cold")
    assert tiffin("unpause", "cold") == "cold\n"
    assert "is not paused" in tiffin.wrong("unpause", "cold")
    tiffin("pause", "cold")
    tiffin("stop", "-t", "0", "cold")
    assert "is not running" in tiffin.wrong("pause", "cold")
    tiffin("rm", "cold")


def test_top_shows_the_processes_of_one_container(tiffin: Tiffin) -> None:
    """The host's ps is asked; only the container's rows are shown, and flags behind the name are ps's."""
    tiffin("run", "-d", "--name", "busy", "box:1", "sleep", "4321")
    rows = tiffin("top", "busy").splitlines()
    assert rows[0].split()[:3] == ["UID", "PID", "PPID"]
    assert [row for row in rows[1:] if row.endswith("sleep 4321")] == rows[1:]
    assert len(rows) == 2
    assert tiffin("top", "busy", "-o", "pid,comm").split()[:2] == ["PID", "COMMAND"]
    assert "find PID field" in tiffin.wrong("top", "busy", "-o", "comm")
    tiffin("stop", "-t", "0", "busy")
    assert "is not running" in tiffin.wrong("top", "busy")
    tiffin("rm", "busy")


def test_diff_names_what_changed(tiffin: Tiffin) -> None:
    """A letter and a path for each change; mounts and what the engine makes are none."""
    tiffin("create", "--name", "fresh", "-v", "/data", "box:1", "true")
    assert tiffin("diff", "fresh") == ""
    tiffin("rm", "-v", "fresh")
    script = "echo x > /new; echo y >> /etc/passwd; /bin/busybox rm /bin/id; echo z > /data/kept"
    tiffin("run", "--name", "other", "-v", "/data", "box:1", "sh", "-c", script)
    assert tiffin("diff", "other") == "C /bin\nD /bin/id\nA /data\nC /etc\nC /etc/passwd\nA /new\n"
    tiffin("rm", "-v", "other")


def test_no_port_is_published(tiffin: Tiffin) -> None:
    """`port` has nothing to say; asked for a certain one it says so."""
    tiffin("create", "--name", "closed", "box:1", "true")
    assert tiffin("port", "closed") == ""
    assert "no public port '80/tcp' published for closed" in tiffin.wrong("port", "closed", "80")
    tiffin("rm", "closed")


def test_events_of_a_life(tiffin: Tiffin) -> None:
    """Everything that happens to a container is told in order, in words, as JSON, or by a template."""
    tiffin("run", "--name", "told", "--label", "a=b", "box:1", "sh", "-c", "exit 4", code=4)
    tiffin("rm", "told")
    asked = ("--since", "10m", "--until", "0s", "--filter", "container=told")
    assert tiffin("events", "--since", "10m", "--until", "0s", "--filter", "event=no-such-thing") == ""
    said = tiffin("events", "--format", "{{.Action}}", *asked)
    assert said.split() == ["create", "attach", "start", "die", "destroy"]
    died = json.loads(tiffin("events", *asked, "--filter", "event=die", "--format", "json"))
    assert died["Actor"]["Attributes"] == {
        "a": "b",
        "image": "box:1",
        "name": "told",
        "exitCode": "4",
        "execDuration": died["Actor"]["Attributes"]["execDuration"],
    }
    line = tiffin("events", *asked, "-f", "event=create")
    assert " container create " in line
    assert line.endswith(" (a=b, image=box:1, name=told)\n")
    assert "invalid filter 'colour'" in tiffin.wrong("events", "--filter", "colour=red")


def test_events_of_an_exec(tiffin: Tiffin) -> None:
    """An exec is made, started and ended, under one id, with its exit code; the image's name is a filter."""
    tiffin("run", "-d", "--name", "busy", "box:1", "sleep", "1000")
    tiffin("exec", "busy", "sh", "-c", "exit 3", code=3)
    lines = follow(
        *(tiffin, b"exec_die", "events", "--since", "10m", "--format", "json", "--filter", "container=busy"),
        *("--filter", "image=box", "--filter", "event=exec_create", "--filter", "event=exec_start"),
        *("--filter", "event=exec_die"),
    )
    told = [json.loads(line) for line in lines.splitlines()]
    assert [event["Action"] for event in told] == [
        "exec_create: sh -c exit 3",
        "exec_start: sh -c exit 3",
        "exec_die",
    ]
    assert len({event["Actor"]["Attributes"]["execID"] for event in told}) == 1
    assert told[-1]["Actor"]["Attributes"]["exitCode"] == "3"
    with subprocess.Popen(tiffin.argv("exec", "-i", "busy", "cat"), stdin=subprocess.PIPE) as process:
        follow(tiffin, b"exec_start: cat", "events", "--since", "10m", "--filter", "container=busy")
        assert len(json.loads(tiffin("inspect", "-f", "{{json .ExecIDs}}", "busy"))) == 1
        process.communicate(b"")
    tiffin("rm", "-f", "busy")
    assert tiffin("events", "--since", "10m", "--until", "0s", "--filter", "image=other") == ""


@needs_cgroups
def test_stats_once_and_live(tiffin: Tiffin) -> None:
    """A table of what runs (with -a of all), once or again and again."""
    tiffin("run", "-d", "--name", "used", "-m", "64m", "box:1", "sleep", "1000")
    rows = tiffin("stats", "--no-stream").splitlines()
    assert rows[0].split()[:3] == ["CONTAINER", "ID", "NAME"]
    assert " / 64MiB" in rows[1]
    assert tiffin("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "used") == "used 1\n"
    tiffin("create", "--name", "idle", "box:1", "true")
    assert "idle" in tiffin("stats", "-a", "--no-stream", "--no-trunc")
    assert b"used" in follow(tiffin, b"used", "stats", "used")
    tiffin("rm", "-f", "used", "idle")


@needs_cgroups
def test_update_changes_what_runs(tiffin: Tiffin) -> None:
    """Limits are seen by the kernel and by inspect at once; the restart policy is followed."""
    tiffin("run", "-d", "--name", "tuned", "-m", "64m", "box:1", "sleep", "1000")
    assert tiffin(
        *("update", "-m", "96m", "--memory-swap", "-1", "--memory-reservation", "32m", "--pids-limit", "20"),
        *("--cpu-shares", "512", "--cpuset-cpus", "0", "--cpuset-mems", "0", "--cpus", "0.5", "tuned"),
    ) == "tuned\n"  # fmt: skip
    host = json.loads(tiffin("inspect", "tuned"))[0]["HostConfig"]
    assert (host["Memory"], host["PidsLimit"], host["NanoCpus"]) == (96 << 20, 20, 500_000_000)
    assert " / 96MiB" in tiffin("stats", "--no-stream")
    assert "Nano CPUs and CPU Quota cannot both be set" in tiffin.wrong(
        "update", "--cpu-quota", "50000", "tuned"
    )
    assert "CPU Period cannot both be set" in tiffin.wrong("update", "--cpu-period", "5", "tuned")
    assert "one or more flags" in tiffin.wrong("update", "tuned")
    tiffin("update", "--restart", "always", "tuned")
    assert tiffin("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", "tuned") == "always\n"
    tiffin("rm", "-f", "tuned")


@needs_cgroups
def test_run_with_shares_of_the_machine(tiffin: Tiffin) -> None:
    """What the cgroup and the process have is read back from inside."""
    script = "cat /proc/self/oom_score_adj; cat /proc/self/status"
    said = tiffin(
        *("run", "--rm", "--oom-score-adj", "300", "--cpu-shares", "256", "--cpu-period", "50000"),
        *("--cpu-quota", "25000", "--cpuset-cpus", "0", "--cpuset-mems", "0", "-m", "64m"),
        *("--memory-reservation", "32m", "box:1", "sh", "-c", script),
    )
    assert said.startswith("300\n")
    assert "Cpus_allowed_list:\t0\n" in said


@needs_ids
def test_run_with_what_is_handed_on(tiffin: Tiffin) -> None:
    """Rlimits, kernel settings, groups, devices, names and servers are seen from inside."""
    script = "ulimit -n; ulimit -Hn; cat /proc/sys/kernel/msgmax; id -G; cat /etc/hosts /etc/resolv.conf"
    said = tiffin(
        *("run", "--rm", "--ulimit", "nofile=100:200", "--sysctl", "kernel.msgmax=4242", "--group-add", "77"),
        *("--add-host", "db:10.0.0.9", "--dns", "10.0.0.1", "--dns-search", "example.com"),
        *("--dns-option", "ndots:3", "--annotation", "a=b", "--device", "/dev/full:/dev/brimful:r", "box:1"),
        *("sh", "-c", f"{script}; ls /dev/brimful; echo x > /dev/brimful"),
        code=1,
    )
    assert said.startswith("100\n200\n4242\n0 77\n")
    assert "10.0.0.9\tdb\n" in said
    assert said.endswith("nameserver 10.0.0.1\nsearch example.com\noptions ndots:3\n/dev/brimful\n")


def test_what_cannot_be_handed_on_is_named(tiffin: Tiffin) -> None:
    """Each wrong value is refused in docker's words, before anything is made."""
    for words, reason in (
        (("--ulimit", "nofile=5:3"), "soft limit must be less than or equal to hard limit: 5 > 3"),
        (("--ulimit", "flights=1"), "invalid ulimit type: flights"),
        (("--sysctl", "kernel.hostname=x"), "sysctl 'kernel.hostname' is not allowed"),
        (("--device", "/dev/no-such-device"), "no such file or directory"),
        (("--add-host", "db"), "bad format for add-host"),
        (("--dns", "nobody"), "nobody is not an ip address"),
        (("--log-driver", "syslog"), "no log driver named 'syslog' is registered"),
        (("--log-opt", "colour=red"), "unknown log opt 'colour' for json-file log driver"),
        (("--annotation", "run.oci.seccomp_bpf_file=x"), "invalid annotation"),
        (("--oom-score-adj", "2000"), "range for oom score adj"),
        (("--cpuset-cpus", "3-1"), "for cpuset cpus"),
    ):
        assert reason in tiffin.wrong("run", "--rm", *words, "box:1", "true", code=125)
    assert tiffin("ps", "-aq") == ""


def test_logs_are_bounded_labelled_or_none(tiffin: Tiffin) -> None:
    """--log-opt bounds and labels the log; --log-driver none keeps nothing."""
    tiffin(
        *("run", "--name", "noted", "--label", "a=b", "--log-opt", "labels=a", "--log-opt", "max-size=1k"),
        *("--log-opt", "max-file=1", "--log-opt", "tag={{.Name}}", "box:1", "sh", "-c", "echo one; echo two"),
    )
    path = json.loads(tiffin("inspect", "noted"))[0]["LogPath"]
    with open(path, "rb") as stream:
        assert json.loads(stream.readline())["attrs"] == {"a": "b", "tag": "noted"}
    tiffin("rm", "noted")
    tiffin("run", "--name", "mute", "--log-driver", "none", "box:1", "echo", "x")
    assert "configured logging driver does not support reading" in tiffin.wrong("logs", "mute")
    tiffin("rm", "mute")


def test_full_logs_are_compressed_and_read_back(tiffin: Tiffin) -> None:
    """The local driver keeps few compressed files, json-file if it is told to; logs reads them in order."""
    script = "i=0; while [ $i -lt 4000 ]; do echo line$i; i=$((i+1)); done"
    for name, driver, more in (("near", "local", "max-file=9"), ("packed", "json-file", "compress=true")):
        tiffin(
            *("run", "--name", name, "--log-driver", driver, "--log-opt", "max-size=40k", "--log-opt", more),
            *("--log-opt", "max-file=9", "box:1", "sh", "-c", script),
        )
        folder = os.path.dirname(json.loads(tiffin("inspect", name))[0]["HostsPath"])
        assert [n for n in os.listdir(folder) if n.endswith(".gz")], driver
        lines = tiffin("logs", name).splitlines()
        assert lines == [f"line{n}" for n in range(4000)]
        assert tiffin("logs", "--tail", "2500", name).splitlines() == lines[-2500:]
        tiffin("rm", name)
    wrong = ("run", "--log-opt", "compress=true", "--log-opt", "max-file=1", "box:1", "true")
    assert "compress cannot be true when max-file is less than 2" in tiffin.wrong(*wrong, code=125)
    for option, why in (
        ("max-file=0", "max-file cannot be less than 1"),
        ("max-size=big", "invalid value for max-size"),
        ("colour=red", "unknown log opt 'colour' for json-file log driver"),
        ("mode=odd", "logging mode not supported: odd"),
        ("compress=maybe", 'parsing "maybe": invalid syntax'),
        ("env-regex=(", "error parsing regexp"),
        ("tag={{.Odd}}", "invalid tag template"),
    ):
        assert why in tiffin.wrong("run", "--log-opt", option, "box:1", "true", code=125)
