"""Seccomp: docker's default profile from our own table (`seccomp.json`), as JSON or as a compiled filter.

crun 1.8 compiles a profile anew at every start, half of its time. It takes a ready filter through an
annotation instead, which a runtime that does not know it would silently ignore: the container would
run without a filter. So that door is used only for versions of crun that have been seen to honour it
(`takes_compiled`); every other runtime gets the profile as JSON.
"""

from __future__ import annotations

import binascii
import os
import posix

from tiffin.errors import Corrupt, InvalidArgument
from tiffin.runtime import capabilities, oci
from tiffin.spec import jsontext
from tiffin.spec.value import Value
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tiffin.runtime.machine import Machine

ANNOTATION = "run.oci.seccomp_bpf_data"
TABLE = 1
"""Version of `seccomp.json`, raised with every change of it: compiled filters are kept by it."""

_HONOURS = ((1, 8), (1, 21))
"""First and last (major, minor) of crun with which a process was seen to have the annotation's filter."""

_LARGEST_FILTER = 4096 * 8
_LIBRARY_FOLDERS = ("/usr/lib/{machine}-linux-gnu", "/usr/lib64", "/usr/lib", "/lib")
_COMPARISONS = {"==": "SCMP_CMP_EQ", "<": "SCMP_CMP_LT", ">": "SCMP_CMP_GT", "masked": "SCMP_CMP_MASKED_EQ"}


class Filter(Value):
    """What goes into config.json: `linux.seccomp`, or the value of the annotation; one is empty."""

    profile: dict[str, Any] | None = None
    compiled: str = ""


NONE = Filter()


def filters(spec: dict[str, Any]) -> bool:
    """Tell whether a runtime that obeys `config.json` filters a container's calls."""
    return "seccomp" in spec["linux"] or ANNOTATION in spec.get("annotations", ())


def choose(  # the parts of one decision
    option: str,
    granted: Sequence[str],
    machine: Machine,
    *,
    runtime: str,
    cache: str,
    lenient: bool = False,
) -> Filter:
    """Return the filter of a container: "" is docker's default, "unconfined" none, else a profile's JSON.

    `granted` are the container's capabilities, which the profile depends on; `runtime` the path of the
    OCI runtime, `cache` a folder for what was compiled; `lenient` answers "done" to calls that give a file
    or a process to somebody else, where there is nobody else. Raises InvalidArgument for a profile that
    cannot be read.
    """
    if option == "unconfined":
        return NONE
    if not takes_compiled(runtime, cache):
        return Filter(profile=_evaluate(option, granted, machine, lenient=lenient))
    name = _cache_name(option, granted, machine) + ("-lenient" if lenient else "")
    path = f"{cache}/{name}"
    compiled = _kept(path)
    if compiled:
        return Filter(compiled=compiled)
    profile = _evaluate(option, granted, machine, lenient=lenient)
    from tiffin.runtime import bpf

    program = bpf.compile_profile(profile)
    if not program or len(program) > _LARGEST_FILTER:
        return Filter(profile=profile)
    compiled = binascii.b2a_base64(program, newline=False).decode()
    os.makedirs(cache, 0o700, exist_ok=True)
    atomic.write_file(path, compiled.encode(), 0o600)
    return Filter(compiled=compiled)


# --- the door -----------------------------------------------------------------------------------


def takes_compiled(runtime: str, cache: str) -> bool:
    """Tell whether this runtime is a crun that is known to honour the annotation.

    Its answer to `--version` is kept in `cache` for as long as the file is the same one.
    """
    if oci.kind(runtime) != "crun":
        return False
    info = os.stat(runtime)
    path = f"{cache}/crun-{info.st_dev}-{info.st_ino}-{info.st_size}-{info.st_mtime_ns}"
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except FileNotFoundError:
        text = oci.version(runtime)
        os.makedirs(cache, 0o700, exist_ok=True)
        atomic.write_file(path, text.encode(), 0o600)
    version = _crun_version(text)
    return _HONOURS[0] <= version <= _HONOURS[1] and "+SECCOMP" in text


def _crun_version(text: str) -> tuple[int, int]:
    words = text.partition("\n")[0].split()
    if words[:2] != ["crun", "version"] or len(words) < 3:
        return (0, 0)
    parts = words[2].split(".")
    if len(parts) < 2 or not all(part.isdigit() for part in parts[:2]):
        return (0, 0)
    return (int(parts[0]), int(parts[1]))


def _kept(path: str) -> str:
    """Return a compiled filter that was kept, "" if there is none or it is no filter."""
    try:
        with open(path, "rb") as stream:
            raw = stream.read()
        program = binascii.a2b_base64(raw)
    except (FileNotFoundError, binascii.Error):
        return ""
    return raw.decode() if program and len(program) % 8 == 0 and len(program) <= _LARGEST_FILTER else ""


def _cache_name(option: str, granted: Sequence[str], machine: Machine) -> str:
    """Name what the result depends on: table, architecture, capabilities, kernel, the compiler."""
    base = f"default{TABLE}"
    if option:
        import hashlib

        base = hashlib.sha256(option.encode()).hexdigest()
    mask = capabilities.to_mask(granted)
    major, minor = machine.kernel
    return f"{base}-{machine.architecture}-{mask:x}-{major}.{minor}-{_library()}.bpf"


def _library() -> str:
    """Return the version of libseccomp as its file's name has it: a newer one knows more calls."""
    name = "libseccomp.so.2"
    for pattern in _LIBRARY_FOLDERS:
        try:
            target = posix.readlink(f"{pattern.format(machine=posix.uname().machine)}/{name}")
        except OSError:
            continue
        return target.rpartition("/")[2].removeprefix(f"{name}.")
    return "any"


# --- the profile --------------------------------------------------------------------------------


def _evaluate(option: str, granted: Sequence[str], machine: Machine, *, lenient: bool) -> dict[str, Any]:
    """Return `linux.seccomp` with every condition decided."""
    make = _custom_profile if option else _standard
    profile = make(option, granted, machine)
    return _lenient(profile) if lenient else profile


def _standard(_option: str, granted: Sequence[str], machine: Machine) -> dict[str, Any]:
    return default_profile(granted, machine)


_IN_VAIN = (
    *("chown", "fchown", "fchownat", "lchown", "setgroups", "setuid", "setgid", "setreuid", "setregid"),
    *("setresuid", "setresgid", "setfsuid", "setfsgid", "chown32", "fchown32", "lchown32", "setgroups32"),
    *("setuid32", "setgid32", "setreuid32", "setregid32", "setresuid32", "setresgid32", "setfsuid32"),
    *("setfsgid32", "capset"),
)
_KIND_MASK = 0xF000
_DEVICE_KINDS, _OTHER_KINDS = (0x2000, 0x6000), (0, 0x1000, 0x8000, 0xC000)


def _lenient(profile: dict[str, Any]) -> dict[str, Any]:
    """Let the calls succeed without effect that a single id makes fail: chown and its kin, making devices.

    The names leave the other rules, as libseccomp refuses contradictions.
    """
    taken = {*_IN_VAIN, "mknod", "mknodat"}
    rules = [{**r, "names": [n for n in r["names"] if n not in taken]} for r in profile["syscalls"]]
    done = {"action": "SCMP_ACT_ERRNO", "errnoRet": 0}
    rules = [rule for rule in rules if rule["names"]]
    rules.append({"names": list(_IN_VAIN), **done})
    for name, index in (("mknod", 1), ("mknodat", 2)):
        for kinds, action in ((_DEVICE_KINDS, done), (_OTHER_KINDS, {"action": "SCMP_ACT_ALLOW"})):
            for kind in kinds:
                args = [{"index": index, "value": _KIND_MASK, "valueTwo": kind, "op": "SCMP_CMP_MASKED_EQ"}]
                rules.append({"names": [name], **action, "args": args})
    return {**profile, "syscalls": rules}


def default_profile(granted: Sequence[str], machine: Machine) -> dict[str, Any]:
    """Return docker's default profile for these capabilities, this architecture and kernel."""
    folder = __file__.rpartition("/")[0]
    with open(f"{folder}/seccomp.json", "rb") as stream:
        table = jsontext.load_object(stream.read())
    names = table["architectures"].get(machine.architecture, ())
    rules = [
        _rule(rule)
        for rule in table["rules"]
        if _applies(
            granted,
            machine,
            caps=(rule.get("with_capabilities", ()), rule.get("without_capabilities", ())),
            arches=(rule.get("on", ()), rule.get("not_on", ())),
            kernel=rule.get("kernel", ""),
        )
    ]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": [f"SCMP_ARCH_{name}" for name in names],
        "syscalls": rules,
    }


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    errno = rule.get("errno")
    made: dict[str, Any] = {"names": rule["names"]}
    made["action"] = "SCMP_ACT_ALLOW" if errno is None else "SCMP_ACT_ERRNO"
    if errno is not None:
        made["errnoRet"] = errno
    if "argument" in rule:
        index, comparison, value = rule["argument"]
        # "masked" compares (argument & value) with 0.
        made["args"] = [{"index": index, "value": value, "valueTwo": 0, "op": _COMPARISONS[comparison]}]
    return made


def _applies(
    granted: Sequence[str],
    machine: Machine,
    *,
    caps: tuple[Sequence[str], Sequence[str]],
    arches: tuple[Sequence[str], Sequence[str]],
    kernel: str,
) -> bool:
    """Decide a rule's conditions: (wanted, unwanted) capabilities and architectures, the least kernel."""
    if any(cap in granted for cap in caps[1]) or machine.architecture in arches[1]:
        return False
    if arches[0] and machine.architecture not in arches[0]:
        return False
    if not all(cap in granted for cap in caps[0]):
        return False
    least = tuple(int(part) for part in kernel.split(".")[:2]) if kernel else (0, 0)
    return machine.kernel >= least


def _custom_profile(text: str, granted: Sequence[str], machine: Machine) -> dict[str, Any]:
    """Read a profile in docker's format (conditions, archMap) or the runtime's."""
    try:
        body = jsontext.load_object(text)
        return _read_profile(body, granted, machine)
    except (Corrupt, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = error.message if isinstance(error, Corrupt) else f"{type(error).__name__}: {error}"
        message = f"Decoding seccomp profile failed: {reason}"
        raise InvalidArgument(message) from error


def _read_profile(body: dict[str, Any], granted: Sequence[str], machine: Machine) -> dict[str, Any]:
    names = list(body.get("architectures") or ())
    native = _NATIVE.get(machine.architecture, "")
    for entry in body.get("archMap") or ():
        if entry["architecture"] == f"SCMP_ARCH_{native}":
            names = [entry["architecture"], *(entry.get("subArchitectures") or ())]
    rules = []
    for call in body.get("syscalls") or ():
        includes, excludes = call.get("includes") or {}, call.get("excludes") or {}
        if not _applies(
            granted,
            machine,
            caps=(includes.get("caps") or (), excludes.get("caps") or ()),
            arches=(includes.get("arches") or (), excludes.get("arches") or ()),
            kernel=str(includes.get("minKernel") or ""),
        ):
            continue
        rule: dict[str, Any] = {
            "names": list(call.get("names") or (call["name"],)),
            "action": str(call["action"]),
        }
        if call.get("errnoRet") is not None:
            rule["errnoRet"] = int(call["errnoRet"])
        if call.get("args"):
            rule["args"] = [_argument(a) for a in call["args"]]
        rules.append(rule)
    made: dict[str, Any] = {
        "defaultAction": str(body["defaultAction"]),
        "architectures": names,
        "syscalls": rules,
    }
    if body.get("flags"):
        made["flags"] = list(body["flags"])
    if body.get("defaultErrnoRet") is not None:
        made["defaultErrnoRet"] = int(body["defaultErrnoRet"])
    return made


def _argument(value: dict[str, Any]) -> dict[str, Any]:
    return {
        "index": int(value["index"]),
        "value": int(value["value"]),
        "valueTwo": int(value.get("valueTwo") or 0),
        "op": str(value["op"]),
    }


_NATIVE = {
    "amd64": "X86_64",
    "arm64": "AARCH64",
    "s390x": "S390X",
    "riscv64": "RISCV64",
    "386": "X86",
    "arm": "ARM",
}
