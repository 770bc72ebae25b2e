"""What an ordinary user sees: the same as root, except where the kernel forbids, and then a sentence."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

from tiffin.layer.compression import Decompressor, sniff

if TYPE_CHECKING:
    from tests.accounts import User

_LIBRARY = """
import tiffin
with tiffin.Engine() as engine:
    engine.images.build({context!r}, tags=["lib:1"], no_cache=True)
    tiffin.run("lib:1", ["true"], volumes=["library:/data"], engine=engine)
    done = tiffin.run("lib:1", ["sh", "-c", "id -u; cat /v/seed"], volumes=["library:/v"], engine=engine)
    print(done.exit_code, done.stdout)
    engine.volumes.remove("library")
    print(engine.images.remove("lib:1")[0].untagged)
    try:
        engine.images.remove("nosuch")
    except tiffin.errors.NotFound as error:
        print(error.message)
    print(engine.system.fsck())
"""


_PRIVATE = "mkdir -m 700 /tmp/own && touch /tmp/own/file"


def test_a_container_is_confined_as_roots_is(user: User) -> None:
    """Root inside, one filter, no more; seen from the host it is the user."""
    script = "id -u; grep -c . /proc/self/uid_map; grep Seccomp: /proc/self/status; hostname"
    out = user.tiffin("run", "--rm", "--network", "none", "--hostname", "here", "base:1", "sh", "-c", script)
    ranges = "2" if user.name.endswith("subids") else "1"
    assert out.split() == ["0", ranges, "Seccomp:", "2", "here"]


def test_the_life_of_a_container(user: User) -> None:
    """Detached, exec, logs, stop, start, sizes, removal: nothing of it is left."""
    user.tiffin("run", "-d", "--name", "life", "base:1", "sh", "-c", "echo up; mkdir /x; sleep 1000")
    assert user.tiffin("exec", "life", "id", "-u") == "0\n"
    assert user.tiffin("logs", "life") == "up\n"
    user.tiffin("stop", "-t", "0", "life")
    assert user.tiffin("inspect", "-f", "{{.State.ExitCode}}", "life") == "137\n"
    user.tiffin("start", "life")
    assert "life" in user.tiffin("ps", "--size")
    assert user.tiffin("rm", "-f", "life") == "life\n"
    assert user.tiffin("ps", "-aq") == ""
    assert os.listdir(f"{user.home}/.local/share/tiffin/containers") == []
    assert user.processes() == []


def test_files_of_other_ids_come_and_go(many: User) -> None:
    """What a container's user wrote where only it may look is removed with the container; volumes too."""
    script = "id -u; mkdir -m 700 /tmp/own; touch /tmp/own/file; touch /data/mine 2>&1"
    options = ("--name", "others", "-u", "web", "-v", "shared:/tmp")
    assert many.tiffin("run", *options, "base:1", "sh", "-c", script, code=1).startswith("7\n")
    assert (
        many.tiffin("run", "--rm", "-v", "shared:/s", "base:1", "stat", "-c", "%U %a", "/s/own")
        == "web 700\n"
    )
    assert many.tiffin("rm", "others") == "others\n"
    assert many.tiffin("volume", "rm", "shared") == "shared\n"
    assert os.listdir(f"{many.home}/.local/share/tiffin/volumes") == []


def test_one_id_refuses_another_user_by_name(single: User) -> None:
    """With one id nobody else can be there, and the sentence says what would change that."""
    said = single.wrong("run", "--rm", "-u", "web", "base:1", "id", code=125)
    assert "cannot run as user 7:8: the only id inside is root's" in said
    assert "usermod --add-subuids" in said
    said = single.wrong("run", "--rm", "--group-add", "77", "base:1", "id", code=125)
    assert "cannot add group 77: the only id inside is root's" in said


def test_limits_are_refused_not_ignored(user: User) -> None:
    """The runtime would ignore limits without a word; tiffin says which one it cannot keep."""
    for flag, value in (("--memory", "64m"), ("--cpus", "1"), ("--pids-limit", "10")):
        said = user.wrong("run", "--rm", flag, value, "base:1", "true", code=125)
        assert f"{flag} needs cgroups" in said


def test_what_cannot_be_as_asked_is_said(user: User) -> None:
    """Owners who are not there, rlimits above the user's own: refused, or warned of by name."""
    there = "inside there are 65537 ids" if user.name.endswith("subids") else "the only id inside is root's"
    for option in ("uid=70000", "gid=70000"):
        said = user.wrong("run", "--rm", "--tmpfs", f"/x:{option}", "base:1", "true", code=125)
        assert f"cannot make a tmpfs with {option}: {there}" in said
    words = ("--ulimit", "nofile=4294967295", "--oom-score-adj", "-1000", "base:1", "sh", "-c", "ulimit -n")
    done = user.run(*user.command("run", "--rm", "--network", "none", *words))
    most = done.stdout.decode().strip()
    said = done.stderr.decode()
    assert f"WARNING: --ulimit nofile is {most}, the most that may be set here" in said
    assert "WARNING: --oom-score-adj is " in said


def test_without_cgroups_use_is_counted_by_processes(user: User) -> None:
    """Stats and top have processes, memory, cpu time and what was written, of those in the container only."""
    script = "sleep 1000 & echo up; while :; do :; done"
    user.tiffin("run", "-d", "--name", "busy", "--network", "none", "base:1", "sh", "-c", script)
    (line,) = user.tiffin("stats", "--no-stream", "--format", "{{json .}}").splitlines()
    found = json.loads(line)
    assert (found["Name"], found["PIDs"]) == ("busy", "2")
    assert float(found["CPUPerc"].rstrip("%")) > 0
    assert not found["MemUsage"].startswith("0B")
    assert len(user.tiffin("top", "busy").splitlines()) == 3
    user.tiffin("rm", "-f", "busy")


def _layers(user: User, name: str) -> dict[str, tarfile.TarInfo]:
    """Return path -> entry over all layers of a saved image."""
    done = subprocess.run(user.argv("sh", "-c", "cat saved.tar"), capture_output=True, check=True)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as outer:
        manifest = json.load(outer.extractfile("manifest.json"))  # type: ignore[arg-type]
        for path in next(m for m in manifest if f"{name}" in m["RepoTags"])["Layers"]:
            packed = outer.extractfile(path).read()  # type: ignore[union-attr]
            plain = Decompressor(sniff(packed)).feed(packed)  # in zstd, after a push that packed it so
            with tarfile.open(fileobj=io.BytesIO(plain)) as layer:
                found |= {entry.name: entry for entry in layer}
    return found


def test_owners_survive_where_the_user_cannot_have_them(user: User) -> None:
    """COPY --chown reaches the saved layer on either rung: as an id, or as a note beside the file."""
    user.tiffin("save", "-o", f"{user.home}/saved.tar", "base:1")
    entries = _layers(user, "base:1")
    assert (entries["owned"].uid, entries["owned"].gid) == (7, 9)
    assert (entries["data/seed"].uid, entries["bin/busybox"].uid) == (0, 0)
    assert not [e for e in entries.values() if any("tiffin" in key for key in e.pax_headers)]


def test_devices_in_an_image_come_back_out(user: User) -> None:
    """A layer with device nodes, which only real root can make, is kept and written as it was."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("dev/zero")
        entry.type, entry.devmajor, entry.devminor, entry.mode = tarfile.CHRTYPE, 1, 5, 0o666
        entry.uid, entry.gid = 0, 6
        archive.addfile(entry)
    folder = f"{user.home}/devices"
    os.mkdir(folder)
    with open(f"{folder}/nodes.tar", "wb") as stream:
        stream.write(buffer.getvalue())
    with open(f"{folder}/Dockerfile", "w") as text:
        text.write("FROM scratch\nADD nodes.tar /\n")
    user.tiffin("build", "-q", "-t", "nodes:1", folder)
    user.tiffin("save", "-o", f"{user.home}/saved.tar", "nodes:1")
    found = _layers(user, "nodes:1")["dev/zero"]
    assert (found.type, found.devmajor, found.devminor, found.gid) == (tarfile.CHRTYPE, 1, 5, 6)
    user.tiffin("rmi", "nodes:1")


def test_a_step_that_changes_owners_builds_with_one_id(single: User) -> None:
    """RUN lets chown, its kin and the making of devices succeed without effect; `run` does not."""
    script = "chown 7:8 /data/seed && mknod /null c 1 3 && ! test -e /null && stat -c %u /data/seed"
    folder = f"{single.home}/pretend"
    os.mkdir(folder)
    with open(f"{folder}/Dockerfile", "w") as stream:
        stream.write(f"FROM base:1\nRUN {script} && mkfifo /pipe && test -p /pipe && cat $APT_CONFIG\n")
    single.tiffin("build", "-q", "-t", "pretend:1", folder)
    single.tiffin(
        "run", "--rm", "pretend:1", "sh", "-c", "! chown 7:8 /data/seed 2>/dev/null && ! test -e /dev/tiffin*"
    )
    single.tiffin("rmi", "pretend:1")


def test_the_library_needs_no_root_and_leaves_nothing(user: User) -> None:
    """A Python program builds, runs and removes; then no process or socket of tiffin is there."""
    out = user.python(_LIBRARY.format(context=f"{user.home}/context")).splitlines()
    assert out == [r"0 b'0\nseed\n'", "lib:1", "No such image: nosuch:latest", "[]"]
    assert user.processes() == []
    living = f"{user.home}/run/tiffin/containers"
    assert not os.path.isdir(living) or os.listdir(living) == []


def test_saved_and_loaded_is_the_same(user: User) -> None:
    """An image goes out and comes back with its id, and runs."""
    before = user.tiffin("images", "-q", "--no-trunc", "base:1")
    user.tiffin("save", "-o", f"{user.home}/saved.tar", "base:1")
    user.tiffin("rmi", "base:1")
    user.tiffin("load", "-i", f"{user.home}/saved.tar")
    assert user.tiffin("images", "-q", "--no-trunc", "base:1") == before
    assert user.tiffin("run", "--rm", "base:1", "cat", "/owned") == "web's"
    assert user.tiffin("fsck") == "the store is whole\n"


def _doctor(user: User, code: int = 0) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in json.loads(user.tiffin("doctor", "--json", code=code))}


def test_doctor_says_the_rung_and_the_way_up(many: User, single: User) -> None:
    """Rung, why not the one above, one command that gets there; and that containers work was tried."""
    found = _doctor(many)
    assert "subordinate ids" in found["rung"]["text"]
    assert found["not root"]["remedy"].startswith("sudo tiffin")
    assert found["containers"]["good"]
    found = _doctor(single)
    assert "one id" in found["rung"]["text"]
    assert "--add-subgids" in found["not subids"]["remedy"]
    assert found["not subids"]["text"] == f"/etc/subuid gives {single.name} no range of ids"
    assert "Rung: single" in single.tiffin("info")


def test_without_namespaces_nothing_runs_and_that_is_said(many: User) -> None:
    """The lowest rung refuses `run` with the reason; a store of another rung is not touched."""
    many.rung = "none"
    try:
        assert not _doctor(many, code=1)["rung"]["good"]
        said = many.wrong("images")
        assert "was made with other privileges" in said
        assert "--root or TIFFIN_ROOT" in said
    finally:
        many.rung = ""


def test_without_namespaces_images_are_made_and_sent(single: User) -> None:
    """With no namespace at all COPY, save and rmi work; what would run is refused by name."""
    single.rung = "none"
    root = ("--root", f"{single.home}/none")
    try:
        with open(f"{single.home}/context/Only", "w") as stream:
            stream.write("FROM scratch\nCOPY --chown=5:6 owned /a/b\nENV X=1\n")
        single.tiffin(
            *root,
            "build",
            "-q",
            "-t",
            "none:1",
            "-f",
            f"{single.home}/context/Only",
            f"{single.home}/context",
        )
        single.tiffin(*root, "save", "-o", f"{single.home}/saved.tar", "none:1")
        found = _layers(single, "none:1")
        assert {name: (e.uid, e.gid) for name, e in found.items()} == {"a": (5, 6), "a/b": (5, 6)}
        said = single.wrong(*root, "run", "--rm", "none:1", "x", code=125)
        assert "containers need user namespaces" in said
        single.tiffin(*root, "rmi", "none:1")
        assert single.tiffin(*root, "fsck") == "the store is whole\n"
    finally:
        single.rung = ""


def test_owners_outlive_a_file_that_is_replaced(single: User) -> None:
    """A program that writes a file anew and renames it, as useradd does, does not make it root's."""
    folder = f"{single.home}/replace"
    os.mkdir(folder)
    with open(f"{folder}/Dockerfile", "w") as stream:
        stream.write("FROM base:1\nRUN cp /owned /new && echo more >> /new && mv /new /owned\n")
    single.tiffin("build", "-q", "-t", "replaced:1", folder)
    single.tiffin("save", "-o", f"{single.home}/saved.tar", "replaced:1")
    found = _layers(single, "replaced:1")
    assert (found["owned"].uid, found["owned"].gid, found["owned"].size) == (7, 9, 10)
    single.tiffin("rmi", "replaced:1")


def _lose_keeper(user: User, name: str) -> int:
    """Kill a container's keeper; return a handle of the process that it leaves."""
    pid = int(user.tiffin("inspect", "-f", "{{.State.Pid}}", name))
    with open(f"/proc/{pid}/stat", "rb") as stream:
        keeper = int(stream.read().rpartition(b")")[2].split()[1])
    process, handle = os.pidfd_open(pid), os.pidfd_open(keeper)
    os.kill(keeper, signal.SIGKILL)
    select.select([handle], [], [], 10)
    os.close(handle)
    return process


def test_containers_without_their_keepers_are_ended_and_removed(many: User) -> None:
    """When keepers were killed, one `rm -f` ends all processes, whoever they belong to inside."""
    names = [many.tiffin("run", "-d", "-u", "web", "base:1", "sleep", "1000").strip() for _ in range(3)]
    processes = [_lose_keeper(many, name) for name in names[1:]]
    assert many.tiffin("rm", "-f", *names).split() == names
    for process in processes:
        assert select.select([process], [], [], 10)[0]
        os.close(process)
    assert many.processes() == []


def test_reset_takes_what_the_user_cannot(many: User) -> None:
    """Everything goes, files of other ids too; while something runs nothing does."""
    root = ("--root", f"{many.home}/other")
    many.tiffin(*root, "build", "-q", "-t", "base:1", f"{many.home}/context")
    many.tiffin(*root, "run", "--name", "others", "-u", "web", "base:1", "sh", "-c", _PRIVATE)
    done = many.run("rm", "-r", f"{many.home}/other")
    assert done.returncode
    assert many.tiffin(*root, "system", "reset", "-f").startswith(f"removed: {many.home}/other\n")
    assert not os.path.exists(f"{many.home}/other")
    os.mkdir(f"{many.home}/precious")
    os.mkdir(f"{many.home}/precious/thing")
    assert "is no store of tiffin" in many.wrong("--root", f"{many.home}/precious", "system", "reset", "-f")


def test_a_run_folder_of_somebody_else_is_refused(many: User) -> None:
    """Sockets go only where nobody else can put his own."""
    said = many.wrong("--run", "/var", "images")
    assert "/var is not a folder of yours alone" in said


def test_an_image_of_many_layers(user: User) -> None:
    """More layers than fit into a page of mount options run, are changed, and show what was changed."""
    folder = f"{user.home}/layers-{user.uid}"
    os.makedirs(folder)
    lines = [f"COPY file /d/{number}\n" for number in range(200)]
    for name, text in (("file", "x"), ("Dockerfile", "FROM base:1\n" + "".join(lines))):
        with open(f"{folder}/{name}", "w") as stream:
            stream.write(text)
    user.tiffin("build", "-q", "-t", "deep:1", folder)
    script = "ls /d | wc -l; echo y > /d/0; rm /d/1"
    assert user.tiffin("run", "--name", "deep", "deep:1", "sh", "-c", script) == "200\n"
    assert user.tiffin("diff", "deep").split() == ["C", "/d", "C", "/d/0", "D", "/d/1"]
    user.tiffin("rm", "deep")
    user.tiffin("rmi", "deep:1")


def test_what_would_go_is_counted_where_the_ids_are(user: User) -> None:
    """Dry runs look into folders that only the container's own ids may read."""
    owner = "web" if user.name.endswith("many") else "root"
    words = ("-v", "/anonymous", "-u", owner, "base:1", "sh", "-c", _PRIVATE)
    user.tiffin("run", "--name", "private", *words)
    for words in (
        ("rm", "--dry-run", "-v", "private"),
        ("container", "prune", "--dry-run"),
        ("system", "prune", "--dry-run"),
    ):
        assert user.tiffin(*words).startswith("would remove 1 container, ")
    user.tiffin("rm", "-v", "private")


def test_copies_go_both_ways(user: User) -> None:
    """Copying reaches a running container and a stopped one, and their volumes; here it is the user's."""
    with open(f"{user.home}/note", "w") as stream:
        stream.write("from here")
    user.tiffin(
        "run", "-d", "--name", "copied", "-v", "kept:/v", "--tmpfs", "/mem", "base:1", "sleep", "1000"
    )
    for place in ("/tmp", "/v", "/mem"):  # noqa: S108 - in there
        user.tiffin("cp", "note", f"copied:{place}/note")
        assert user.tiffin("exec", "copied", "stat", "-c", "%u:%g", f"{place}/note") == "0:0\n"
        user.tiffin("cp", f"copied:{place}", f"{user.home}/back{place.replace('/', '-')}")
        path = f"{user.home}/back{place.replace('/', '-')}/note"
        assert os.stat(path).st_uid == user.uid
    user.tiffin("stop", "-t", "0", "copied")
    user.tiffin("cp", "-a", "copied:/owned", "back-owned")
    user.tiffin("cp", "note", "copied:/v/again")
    assert user.tiffin("run", "--rm", "-v", "kept:/v", "base:1", "cat", "/v/again") == "from here"
    user.tiffin("start", "copied")
    assert user.tiffin("exec", "copied", "ls", "/v") == "again\nnote\n"
    user.tiffin("rm", "-f", "copied")
    user.tiffin("volume", "rm", "kept")


def test_images_are_compared_where_the_ids_are(user: User) -> None:
    """Indexes are made of files that only other ids may read."""
    owner = "web" if user.name.endswith("many") else "root"
    command = f"echo x > /x && chmod 600 /x && chown {owner} /x"
    user.tiffin("run", "--name", "secret", "base:1", "sh", "-c", command)
    user.tiffin("commit", "secret", "secret:1")
    assert user.tiffin("image", "diff", "base:1", "secret:1").splitlines()[1].split()[:2] == ["A", "/x"]
    assert user.tiffin("history", "--waste", "-q", "secret:1")
    user.tiffin("rm", "secret")
    user.tiffin("rmi", "secret:1")


def test_mounts_of_images_and_parts(user: User) -> None:
    """An image, a part of a volume, another's volumes and a fork: as root has them."""
    fill = "mkdir -p /v/a; echo 1 > /v/a/x; echo 2 > /own"
    user.tiffin("run", "--name", "filler", "-v", "parts:/v", "base:1", "sh", "-c", fill)
    part = ("--mount", "type=volume,src=parts,dst=/p,volume-subpath=a")
    image = ("--mount", "type=image,src=base:1,dst=/i,image-subpath=data")
    seen = ("base:1", "cat", "/p/x", "/i/seed", "/v/a/x")
    assert user.tiffin("run", "--rm", *part, *image, "--volumes-from", "filler", *seen) == "1\nseed\n1\n"
    user.tiffin("container", "fork", "--name", "forked", "filler")
    for name in ("filler", "forked"):
        assert "A /own" in user.tiffin("diff", name)
    user.tiffin("volume", "clone", "parts", "again")
    assert user.tiffin("run", "--rm", "-v", "again:/v", "base:1", "cat", "/v/a/x") == "1\n"
    user.tiffin("run", "--rm", "-v", "owned:/v:U", "base:1", "true")
    user.tiffin("rm", "filler", "forked")
    user.tiffin("volume", "rm", "parts", "again", "owned")


def test_steps_have_mounts(user: User) -> None:
    """A build step has caches, secrets and files of the context, as root's have; none of it stays."""
    folder = f"{user.home}/mounts"
    os.makedirs(folder)
    with open(f"{folder}/Dockerfile", "w") as stream:
        stream.write(
            "FROM base:1 AS one\nRUN echo seed > /seed\nFROM base:1\nARG N\n"
            "RUN --mount=type=cache,target=/c --mount=type=secret,id=PATH,target=/s/x --mount=target=/ctx"
            " --mount=type=tmpfs,target=/t --mount=from=one,target=/one --mount=target=/w,rw"
            " (echo $N >> /c/log; cat /c/log /one/seed; ls /ctx; stat -c %a:%u /s/x; touch /t/x /w/x)"
            " > /out\n"
        )
    user.tiffin("build", "--build-arg", "N=1", "--secret", "id=PATH", folder)
    user.tiffin("build", "--build-arg", "N=2", "--secret", "id=PATH", "-t", "mounted", folder)
    script = "cat /out; ls -d /c /s /t /ctx /one /w 2>/dev/null; true"
    shown = user.tiffin("run", "--rm", "mounted", "sh", "-c", script)
    assert shown == "1\n2\nseed\nDockerfile\n400:0\n"
    assert os.listdir(folder) == ["Dockerfile"]
    assert "cache mount" in user.tiffin("builder", "prune", "--dry-run")
    user.tiffin("builder", "prune", "-f")
