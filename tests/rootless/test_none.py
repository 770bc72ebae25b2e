"""No user namespaces, really forbidden: images come, go and are built; what would run is refused by name."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.rootless.conftest import User

# What docker and kubernetes do to a process without CAP_SYS_ADMIN.
_FILTER = """\
import ctypes, os, sys
lib = ctypes.CDLL("libseccomp.so.2")
lib.seccomp_init.restype = ctypes.c_void_p
context = ctypes.c_void_p(lib.seccomp_init(0x7FFF0000))
class Comparison(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]
def refuse(name, errno, *rules):
    number = lib.seccomp_syscall_resolve_name(name)
    array, action = (Comparison * max(1, len(rules)))(*rules), ctypes.c_uint32(0x50000 | errno)
    assert lib.seccomp_rule_add_array(context, action, number, len(rules), array) == 0
for name in (b"unshare", b"setns", b"mount"):
    refuse(name, 1)
refuse(b"clone", 1, Comparison(0, 7, 0x10000000, 0x10000000))
refuse(b"clone3", 38)
assert lib.seccomp_load(context) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""
FILTERED = (sys.executable, "-c", _FILTER)
# A user namespace around the command, because the number is one for each of them.
_COUNTED = """\
import ctypes, os, sys
go, gone = os.pipe(), os.pipe()
child = os.fork()
if not child:
    ctypes.CDLL(None).unshare(0x10000000)
    os.write(gone[1], b"x")
    os.read(go[0], 1)
    with open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")
    os.execvp(sys.argv[1], sys.argv[1:])
os.read(gone[0], 1)
for name in ("uid_map", "gid_map"):
    with open(f"/proc/{child}/{name}", "w") as file:
        file.write("0 0 65536")
os.write(go[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
COUNTED = (sys.executable, "-c", _COUNTED)
_STEPS = """\
FROM base:1
COPY --chown=5:6 new /srv/new
ADD more.tar /more/
ENV X=1
"""


def archive(*entries: tuple[str, bytes, int, int]) -> bytes:
    """Return a tar of (name, content, mode, owner); a name that ends with / is a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for name, content, mode, owner in entries:
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            entry.size, entry.mode, entry.uid, entry.gid = len(content), mode, owner, owner
            made.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def with_context(folder: str) -> str:
    """Make what the steps are built from."""
    os.mkdir(folder)
    files = {
        "Dockerfile": _STEPS.encode(),
        "Run": b"FROM base:1\nRUN true\n",
        "new": b"new",
        "more.tar": archive(("d/", b"", 0o555, 3), ("d/file", b"x", 0o4755, 7)),
        # As Fedora has it: a root folder that its owner may not write into.
        "base.tar": archive(("./", b"", 0o555, 0), ("etc/", b"", 0o755, 0), ("etc/owned", b"o", 0o600, 9)),
    }
    for name, content in files.items():
        with open(f"{folder}/{name}", "wb") as stream:
            stream.write(content)
    return folder


def story(tiffin: Sequence[str], context: str, reason: str) -> dict[str, tarfile.TarInfo]:
    """Do all that works, see refused what cannot, and return what is in the image that was built."""

    def done(*words: str, code: int = 0) -> str:
        ended = subprocess.run([*tiffin, *words], capture_output=True, check=False, text=True, timeout=120)
        assert ended.returncode == code, ended.stderr
        return ended.stderr if code and not ended.stdout else ended.stdout

    assert reason in done("doctor", code=1)
    done("import", f"{context}/base.tar", "base:1")
    done("build", "-q", "-t", "built:1", context)
    for words, code in (
        (("run", "--rm", "built:1", "x"), 125),
        (("build", "-f", f"{context}/Run", context), 1),
    ):
        said = done(*words, code=code)
        assert "containers need user namespaces, which this user cannot have" in said
        assert reason in said
    done("save", "-o", f"{context}/saved.tar", "built:1")
    before = done("images", "-q", "--no-trunc", "built:1")
    done("tag", "built:1", "other:1")
    done("rmi", "built:1", "other:1", "base:1")
    done("load", "-i", f"{context}/saved.tar")
    assert done("images", "-q", "--no-trunc", "built:1") == before
    assert '"X=1"' in done("inspect", "built:1")
    done("image", "prune", "-af")
    assert done("images", "-q") == ""
    assert done("fsck") == "the store is whole\n"
    found = {}
    with tarfile.open(f"{context}/saved.tar") as saved:
        for member in saved:
            layer = saved.extractfile(member)
            if layer is None:
                continue
            try:
                with tarfile.open(fileobj=layer) as inner:
                    found |= {entry.name: entry for entry in inner}
            except tarfile.ReadError:
                continue  # json
    return found


def check(found: dict[str, tarfile.TarInfo]) -> None:
    """Owners and modes came through, though nobody could give a file away."""
    looks = {name: (entry.uid, oct(entry.mode)) for name, entry in found.items()}
    assert looks["srv/new"] == (5, "0o644")
    assert looks["etc/owned"] == (9, "0o600")
    assert looks["more/d"] == (3, "0o555")
    assert looks["more/d/file"] == (7, "0o4755")


@pytest.mark.parametrize("how", ["filter", "sysctl"])
def test_a_user_who_may_have_no_namespace(single: User, how: str) -> None:
    """By a pod's filter or by a sysctl: the same, and the reason is the right one."""
    context = with_context(f"{single.home}/{how}")
    os.chown(context, single.uid, single.uid)
    command = single.command("--root", f"{single.home}/root-{how}")
    if how == "filter":
        story(single.argv(*FILTERED, *command), context, "a seccomp filter refuses them")
        return
    check(story([*COUNTED, *single.argv(*command)], context, "user.max_user_namespaces is 0"))


@pytest.fixture
def pod() -> Iterator[str]:
    """A folder for a pod's root, away from pytest's."""
    with tempfile.TemporaryDirectory(prefix="tiffin-pod-") as folder:
        yield folder


def test_root_of_a_pod(pod: str) -> None:
    """Root without CAP_SYS_ADMIN and with a filter, as in most pods, is no more than a user, and says so."""
    if os.geteuid():
        pytest.skip("needs root")
    context = with_context(f"{pod}/context")
    variables = [f"HOME={pod}", f"PATH={os.defpath}:/usr/sbin", "TIFFIN_DURABLE=0"]
    caps = "-sys_admin,-sys_ptrace,-net_admin,-sys_module,-sys_resource,-dac_read_search"
    around = ["env", "-i", "-C", pod, *variables, "setpriv", f"--bounding-set={caps}", *FILTERED]
    program = "from tiffin.cli.entry import main; main()"
    check(story([*around, sys.executable, "-c", program], context, "a seccomp filter refuses them"))
