"""COPY and ADD: where things land, what they look like there, what is refused."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tiffin.build.roles import Options
from tiffin.errors import DockerfileError, TiffinError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tests.build.bench import Bench


def _new(bench: Bench, dockerfile: str, **words: Any) -> Mapping[str, str]:
    """Build and show what the layers above the base hold."""
    built = bench.build(dockerfile, **words)
    return bench.tree(built, skip=1 if "FROM base" in dockerfile else 0)


@pytest.fixture
def files(bench: Bench) -> Bench:
    """A context of some files, over a base image."""
    bench.add_base()
    bench.write("a.txt", "A")
    bench.write("run.sh", "#!/bin/sh", 0o755)
    bench.write("src/cart.py", "cart")
    bench.write("src/lib/deep.py", "deep")
    bench.write("src/note.md", "note")
    os.chmod(f"{bench.context}/src/lib", 0o750)  # noqa: S103 - not 755, to tell them apart
    return bench


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("COPY a.txt /x", {"/x": "644 0:0 A"}),
        ("COPY a.txt /x/", {"/x/": "755 0:0", "/x/a.txt": "644 0:0 A"}),
        ("COPY a.txt /etc", {"/etc/": "755 0:0", "/etc/a.txt": "644 0:0 A"}),
        ("COPY a.txt run.sh /d/", {
            "/d/": "755 0:0", "/d/a.txt": "644 0:0 A", "/d/run.sh": "755 0:0 #!/bin/sh"}),
        ("COPY src /s", {"/s/": "755 0:0", "/s/cart.py": "644 0:0 cart", "/s/lib/": "750 0:0",
                         "/s/lib/deep.py": "644 0:0 deep", "/s/note.md": "644 0:0 note"}),
        ("COPY src/lib /sticky", {"/sticky/": "1777 0:0", "/sticky/deep.py": "644 0:0 deep"}),
        ("COPY src/*.py /p/", {"/p/": "755 0:0", "/p/cart.py": "644 0:0 cart"}),
        ("COPY sr?/l[a-k]b/*.py /p/", {"/p/": "755 0:0", "/p/deep.py": "644 0:0 deep"}),
        ("COPY ../a.txt /../x", {"/x": "644 0:0 A"}),
        ("COPY --chown=app a.txt /x", {"/x": "644 1000:1001 A"}),
        ("COPY --chown=app:staff src/lib /home/app/l", {
            "/home/": "755 0:0", "/home/app/": "755 0:0", "/home/app/l/": "750 1000:50",
            "/home/app/l/deep.py": "644 1000:50 deep"}),
        ("COPY --chown=7 a.txt /n/x", {"/n/": "755 7:7", "/n/x": "644 7:7 A"}),
        ("COPY --chmod=600 a.txt /x", {"/x": "600 0:0 A"}),
        ("COPY --chmod=u=rwX,go=rX src /s", {
            "/s/": "755 0:0", "/s/cart.py": "644 0:0 cart", "/s/lib/": "755 0:0",
            "/s/lib/deep.py": "644 0:0 deep", "/s/note.md": "644 0:0 note"}),
        ("COPY --exclude=*.md --exclude=lib src /s", {"/s/": "755 0:0", "/s/cart.py": "644 0:0 cart"}),
        ("COPY --parents src/lib/deep.py /s/", {
            "/s/": "755 0:0", "/s/src/": "755 0:0", "/s/src/lib/": "755 0:0",
            "/s/src/lib/deep.py": "644 0:0 deep"}),
        ("COPY --parents ./src/./lib/*.py /s/", {"/s/": "755 0:0", "/s/lib/": "755 0:0",
                                                "/s/lib/deep.py": "644 0:0 deep"}),
        ('COPY ["a.txt", "/with space"]', {"/with space": "644 0:0 A"}),
        ("WORKDIR /w\nCOPY a.txt .", {"/w/": "755 0:0", "/w/a.txt": "644 0:0 A"}),
        ("WORKDIR /w\nCOPY a.txt sub/b", {"/w/": "755 0:0", "/w/sub/": "755 0:0", "/w/sub/b": "644 0:0 A"}),
        ("ARG N=a\nCOPY ${N}.txt /$N", {"/a": "644 0:0 A"}),
        ("COPY a.txt /bin/a", {"/usr/": "755 0:0", "/usr/bin/": "755 0:0", "/usr/bin/a": "644 0:0 A"}),
        ("COPY a.txt /var/run/", {"/run/": "755 0:0", "/run/a.txt": "644 0:0 A"}),
        ("COPY <<E /x\nhi $HOME ${V:-v}\nE", {"/x": "644 0:0 hi  v\n"}),
        ("COPY <<'E' <<-F /d/\n$HOME\nE\n\tf\n\tF", {
            "/d/": "755 0:0", "/d/E": "644 0:0 $HOME\n", "/d/F": "644 0:0 f\n"}),
        ("COPY no*where a.txt /d/", {"/d/": "755 0:0", "/d/a.txt": "644 0:0 A"}),
        ("COPY a.txt /sticky\nRUN echo hi > /sticky/b", {"/sticky/": "1777 0:0", "/sticky/a.txt": "644 0:0 A",
                                                         "/sticky/b": "644 0:0 hi\n"}),
    ],
)  # fmt: skip
def test_where_things_land(files: Bench, line: str, expected: dict[str, str]) -> None:
    """Each form puts exactly these entries above the base image, parents looking as the base has them."""
    found = dict(_new(files, f"FROM base\n{line}\n"))
    found.pop("/")
    assert found == expected


@pytest.mark.parametrize(
    ("line", "message", "hint", "column"),
    [
        (
            "COPY nothing /x",
            'failed to compute cache key: failed to calculate checksum of "/nothing": "/nothing": not found',
            "",
            6,
        ),
        ("COPY a.text /x", '"/a.text": not found', "did you mean a.txt?", 6),
        ("COPY secret /x", '"/secret": not found', '.dockerignore excludes it ("secret")', 6),
        ("COPY ../../etc/passwd /x", '"/etc/passwd": not found', "context", 6),
        ("COPY a.txt run.sh /x", "the destination must be a directory and end with a /", "", 19),
        ("COPY src/* /etc/new", "the destination must be a directory and end with a /", "", 1),
        ("COPY src /etc/passwd", "cannot copy to non-directory: /etc/passwd", "", 1),
        ("COPY src /etc/passwd/x", "cannot copy to non-directory: /etc/passwd", "", 1),
        (
            "COPY --chown=nobody a.txt /x",
            "unable to find user nobody: no matching entries in passwd file",
            "passwd",
            1,
        ),
        (
            "COPY --chown=app:none a.txt /x",
            "unable to find group none: no matching entries in group file",
            "",
            1,
        ),
        ("COPY --chmod=rwx a.txt /x", 'invalid chmod parameter: "rwx"', "octal", 1),
        ("COPY [a /x", '"/[a": not found', "", 1),
        ("COPY --from=9 a /x", "invalid stage index 9", "", 6),
        ("COPY a.txt $NONE", "destination is blank", "", 12),
    ],
)
def test_refusals(files: Bench, line: str, message: str, hint: str, column: int) -> None:
    """What cannot be copied is refused with docker's words, the line, and what may help."""
    files.write(".dockerignore", "secret\n")
    files.write("secret", "s")
    if line.startswith("COPY [a"):
        message = "syntax error in pattern: [a"
    with pytest.raises(DockerfileError) as caught:
        files.build(f"FROM base\n{line}\n")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert (caught.value.line, caught.value.column) == (2, column)


def test_a_folder_is_not_replaced_by_a_file(files: Bench) -> None:
    """A file over a folder of the image, also deep inside a copied tree, is an error as docker has it."""
    files.write("tree/etc", "no")
    with pytest.raises(DockerfileError, match="cannot replace to directory /etc with file"):
        files.build("FROM base\nCOPY tree /\n")
    files.write("other/passwd/x", "no")
    with pytest.raises(DockerfileError, match="cannot copy to non-directory: /etc/passwd"):
        files.build("FROM base\nCOPY other /etc\n")


def test_merging_into_the_image(files: Bench) -> None:
    """A tree over / keeps what is there, goes through folder symlinks, and replaces file symlinks."""
    files.write("rootfs/bin/tool", "tool", 0o755)
    files.write("rootfs/etc/passwd", "mine")
    files.write("rootfs/etc/link", "mine, too")
    built = files.build("FROM base\nRUN busybox ln -s /etc/group /etc/link\nCOPY rootfs /\n")
    assert files.read(built, "/usr/bin/tool") == "tool"
    assert files.read(built, "/etc/passwd") == "mine"
    assert files.read(built, "/etc/link") == "mine, too"
    assert str(files.read(built, "/etc/group")).startswith("root:x:0")
    stack = files.store.stack(tuple(layer.chain_id for layer in built.layers))
    assert stack.readlink("/bin") == "usr/bin"
    assert stack.stat("/bin/sh") is not None


def test_symlinks_of_the_context(files: Bench) -> None:
    """A symlink named as a source is followed inside the context only; one inside a folder is copied."""
    os.symlink("a.txt", f"{files.context}/link")
    os.symlink("/etc/hostname", f"{files.context}/absolute")
    os.symlink("../../../../etc/shadow", f"{files.context}/up")
    os.symlink("/a.txt", f"{files.context}/rooted")
    os.mkdir(f"{files.context}/links")
    os.symlink("/etc/shadow", f"{files.context}/links/shadow")
    shown = _new(files, "FROM base\nCOPY link rooted /d/\nCOPY links /d/\n")
    assert shown["/d/link"] == "644 0:0 A"
    assert shown["/d/rooted"] == "644 0:0 A"
    assert shown["/d/shadow"] == "-> /etc/shadow"
    for name in ("absolute", "up", "links/shadow"):
        with pytest.raises(DockerfileError, match="not found"):
            files.build(f"FROM base\nCOPY {name} /d/\n")
    os.symlink("/", f"{files.context}/top")
    with pytest.raises(DockerfileError, match="not found"):
        files.build("FROM base\nCOPY top/etc/passwd /d/\n")


def test_special_files_of_the_context(files: Bench) -> None:
    """Sockets are passed over; pipes and devices are refused by name; a looping symlink ends."""
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(f"{files.context}/src")
        server.bind("socket")
        os.chdir(here)
        assert "/s/socket" not in _new(files, "FROM base\nCOPY src /s\n")
    os.mkfifo(f"{files.context}/src/pipe")
    with pytest.raises(DockerfileError, match="named pipe: src/pipe"):
        files.build("FROM base\nCOPY . /s\n")
    os.unlink(f"{files.context}/src/pipe")
    os.symlink("loop", f"{files.context}/loop")
    with pytest.raises(DockerfileError, match="too many levels of symbolic links"):
        files.build("FROM base\nCOPY loop /s\n")


def test_copy_from_stage_and_image(files: Bench) -> None:
    """--from takes files of a stage by name or number and of an image, hard links and capabilities kept."""
    script = "touch cap && /sbin/setcap cap_net_raw+ep cap" if os.path.exists("/sbin/setcap") else "touch cap"
    files.add_base("docker.io/library/other:1", extra=f"{script}; echo one > one; ln one two; mkdir etc/o")
    built = files.build(
        "FROM base AS first\nRUN echo made > /made\n"
        "FROM scratch\nCOPY --from=first /made /a\nCOPY --from=0 /made /b\n"
        "COPY --from=other:1 one two /l/\nCOPY --from=other:1 /bin/cat /link\nCOPY --from=other:1 cap /cap\n"
    )
    shown = files.tree(built)
    assert shown["/a"] == shown["/b"] == "644 0:0 made\n"
    assert shown["/l/one"] == shown["/l/two"] == "644 0:0 one\n"
    top = files.store.stack(tuple(layer.chain_id for layer in built.layers))
    one, two = top.stat("/l/one"), top.stat("/l/two")
    assert one is not None
    assert two is not None
    assert one.st_ino == two.st_ino
    assert os.listxattr(str(top.real("/cap"))) == os.listxattr(
        str(
            files.store.stack(
                tuple(x.chain_id for x in files.images["docker.io/library/other:1"].layers)
            ).real("/cap")
        )
    )


def _tar(kind: str, entries: dict[str, str]) -> bytes:
    raw = io.BytesIO()
    mode = "w" if kind in {"", "zst"} else f"w:{kind}"
    with tarfile.open(fileobj=raw, mode=mode) as archive:  # type: ignore[call-overload]
        for name, text in entries.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.uid, info.gid, info.mode = 5, 6, 0o640
            if name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o751
                archive.addfile(info)
            elif text.startswith("-> "):
                info.type, info.linkname = tarfile.SYMTYPE, text[3:]
                archive.addfile(info)
            else:
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))
    if kind == "zst":
        import zstandard

        return zstandard.compress(raw.getvalue())
    return raw.getvalue()


@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz", "zst"])
@pytest.mark.parametrize("base", ["base", "scratch"])
def test_add_unpacks_local_archives(files: Bench, kind: str, base: str) -> None:
    """ADD unpacks a tar by its content, whatever its name, owners as in the archive, folders too."""
    files.write("thing", _tar(kind, {"d/": "", "d/f": "F", "l": "-> d/f"}))
    shown = _new(files, f"FROM {base}\nADD thing /opt/x\n")
    assert {k: v for k, v in shown.items() if k.startswith("/opt/x/")} == {
        "/opt/x/": "755 0:0",
        "/opt/x/d/": "751 5:6",
        "/opt/x/d/f": "640 5:6 F",
        "/opt/x/l": "-> d/f",
    }


def test_add_merges_into_the_image(files: Bench) -> None:
    """An archive over / is merged: folder symlinks of the image lead on, other files stay."""
    files.write("r.tar", _tar("", {"bin/": "", "bin/tool": "T", "etc/": "", "etc/passwd": "P"}))
    built = files.build("FROM base\nADD r.tar /\n")
    assert files.read(built, "/usr/bin/tool") == "T"
    assert files.read(built, "/etc/passwd") == "P"
    assert files.read(built, "/etc/group")
    owned = files.build("FROM base\nADD --chown=app r.tar /x/\n")
    assert files.tree(owned, "/x")["/x/bin/tool"] == "640 1000:1001 T"


def test_add_knows_an_archive_that_hardly_compresses(files: Bench) -> None:
    """A bzip2 block that says nothing for most of a megabyte is known all the same."""
    files.write("noise.tar.bz2", _tar("bz2", {"noise": os.urandom(2_000_000).hex()[:1_900_000]}))
    assert "/n/noise" in _new(files, "FROM scratch\nADD noise.tar.bz2 /n/\n")


def test_add_copies_what_is_no_archive(files: Bench) -> None:
    """ADD copies other files, an empty .tar.gz, and with --unpack=false also archives; COPY never unpacks."""
    files.write("empty.tar.gz", b"")
    files.write("not.tar.gz", b"\x1f\x8b\x08 junk")
    files.write("r.tar", _tar("", {"f": "F"}))
    shown = _new(
        files,
        "FROM base\nADD a.txt empty.tar.gz not.tar.gz /d/\nADD --unpack=false r.tar /e/\nCOPY r.tar /c/\n",
    )
    assert shown["/d/a.txt"] == "644 0:0 A"
    assert shown["/d/empty.tar.gz"] == "644 0:0 "
    assert "/e/r.tar" in shown
    assert "/c/r.tar" in shown


def test_add_through_a_symlink_of_the_archive(files: Bench) -> None:
    """An archive cannot write through its own symlink to a place outside of the layer."""
    outside = f"{files.folder}/outside"
    os.mkdir(outside)
    files.write("evil.tar", _tar("", {"x": f"-> {outside}", "x/f": "F"}))
    with contextlib.suppress(TiffinError):  # refused or confined: both are right
        files.build("FROM base\nADD evil.tar /d/\n")
    assert os.listdir(outside) == []


def test_times_are_kept(files: Bench) -> None:
    """Files and folders keep the moments of the source; a parent keeps that of the image."""
    os.utime(f"{files.context}/src/cart.py", ns=(1, 1_500_000_000_123_456_789))
    os.utime(f"{files.context}/src", ns=(1, 1_400_000_000_000_000_000))
    built = files.build("FROM base\nCOPY src /etc/s\n")
    stack = files.store.stack(tuple(layer.chain_id for layer in built.layers))
    base = files.store.stack(tuple(layer.chain_id for layer in built.layers[:1]))
    moments = [getattr(stack.stat(path), "st_mtime_ns", 0) for path in ("/etc/s/cart.py", "/etc/s", "/etc")]
    assert moments == [
        1_500_000_000_123_456_789,
        1_400_000_000_000_000_000,
        getattr(base.stat("/etc"), "st_mtime_ns", 1),
    ]


def test_an_image_of_files_is_what_a_container_sees(files: Bench) -> None:
    """The kernel's overlay mount of the built layers shows what the copies meant."""
    files.write("rootfs/bin/tool", "tool", 0o755)
    built = files.build(
        "FROM base\nCOPY rootfs /\nRUN test -x /bin/sh && cat /usr/bin/tool && ls -ld /sticky\n"
    )
    assert "tool" in files.output()
    assert "drwxrwxrwt" in files.output()
    assert len(built.layers) == 3


def test_workdir_makes_its_folder_once(files: Bench) -> None:
    """WORKDIR makes a layer only where the folder is missing, as root even after USER."""
    built = files.build("FROM base\nUSER app\nWORKDIR /etc\nWORKDIR /a/b\nWORKDIR c\nWORKDIR /var/run/x\n")
    assert [entry.empty_layer for entry in built.config.history[1:]] == [True, True, False, False, False]
    assert built.config.config.working_dir == "/var/run/x"
    shown = files.tree(built, skip=1)
    assert shown["/a/b/c/"] == "755 0:0"
    assert shown["/run/x/"] == "755 0:0"
    with pytest.raises(DockerfileError, match="not a folder"):
        files.build("FROM base\nWORKDIR /etc/passwd\n")


def test_a_base_without_its_files(files: Bench) -> None:
    """--chown by name in an image without passwd says so; numbers work."""
    with pytest.raises(DockerfileError, match="unable to find user app"):
        files.build("FROM scratch\nCOPY --chown=app a.txt /\n")
    built = files.build("FROM scratch\nCOPY --chown=3:4 a.txt /\n", options=Options())
    assert files.tree(built)["/a.txt"] == "644 3:4 A"


def test_sparse_and_large_files(files: Bench) -> None:
    """A file of several megabytes arrives whole, whichever way the kernel copied it."""
    data = os.urandom(3 << 20)
    files.write("big", data)
    built = files.build("FROM scratch\nCOPY big /\n")
    place = files.store.stack((built.layers[0].chain_id,)).real("/big")
    assert subprocess.run(["cmp", f"{files.context}/big", str(place)], check=False).returncode == 0
