"""Compiling a seccomp profile into the kernel's filter program, with libseccomp (seccomp_rule_add(3)).

Imported only when a compiled filter is not kept yet: once per profile and machine.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_NUMBER = {"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"}
_COMPARISONS = {
    name: number
    for number, name in enumerate(
        (
            *("SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT"),
            "SCMP_CMP_MASKED_EQ",
        ),
        start=1,
    )
}
_EPERM = 1
_NO_NEW_PRIVILEGES, _OPTIMIZE = 3, 8
"""Attributes: whether loading sets no_new_privs; the shape of the program (2: a binary tree)."""

_BY_BINARY_TREE = 2


class _Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp`."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class _Refused(Exception):
    """Libseccomp does not take a part of the profile."""


def compile_profile(profile: dict[str, Any]) -> bytes:
    """Return the filter of an OCI `linux.seccomp` for this machine, or b"" where it cannot be compiled.

    b"" is no error: the runtime then gets the profile itself and compiles, or refuses, on its own.
    """
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return b""
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    try:
        context = library.seccomp_init(_action(profile, "defaultAction", "defaultErrnoRet"))
        if not context:
            return b""
    except _Refused:
        return b""
    context = ctypes.c_void_p(context)
    try:
        _fill(library, context, profile)
        return _export(library, context)
    except _Refused:
        return b""
    finally:
        library.seccomp_release(context)


def _action(entry: dict[str, Any], key: str, number_key: str) -> ctypes.c_uint32:
    name = entry[key]
    if name not in _ACTIONS:
        raise _Refused
    number = int(entry.get(number_key, _EPERM)) & 0xFFFF if name in _WITH_NUMBER else 0
    return ctypes.c_uint32(_ACTIONS[name] | number)


def _fill(library: Any, context: ctypes.c_void_p, profile: dict[str, Any]) -> None:
    _must(library.seccomp_attr_set(context, _NO_NEW_PRIVILEGES, ctypes.c_uint32(0)))
    library.seccomp_attr_set(context, _OPTIMIZE, ctypes.c_uint32(_BY_BINARY_TREE))  # since 2.5; only faster
    for name in profile.get("architectures", ()):
        token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
        if not token:
            raise _Refused
        result = library.seccomp_arch_add(context, ctypes.c_uint32(token))
        if result not in {0, -17}:  # EEXIST: the machine's own
            raise _Refused
    if profile.get("flags"):
        raise _Refused
    default = _action(profile, "defaultAction", "defaultErrnoRet").value
    for rule in profile.get("syscalls", ()):
        action = _action(rule, "action", "errnoRet")
        if action.value == default:
            continue  # libseccomp refuses a rule that says what happens anyway
        for name in rule["names"]:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == -1:
                continue  # a call of another architecture, or a newer kernel
            _add(library, context, action, number, rule.get("args", ()))


def _add(library: Any, context: ctypes.c_void_p, action: Any, number: int, arguments: Any) -> None:
    """Add a rule. Several comparisons of one argument cannot be joined: docker's runtimes add each alone."""
    if any(a["op"] not in _COMPARISONS for a in arguments):
        raise _Refused
    comparisons = [
        _Comparison(a["index"], _COMPARISONS[a["op"]], a["value"], a.get("valueTwo", 0)) for a in arguments
    ]
    indexes = [c.argument for c in comparisons]
    alone = len(set(indexes)) < len(indexes)
    for group in [[c] for c in comparisons] if alone else [comparisons]:
        array = (_Comparison * max(1, len(group)))(*group)
        _must(library.seccomp_rule_add_array(context, action, number, len(group), array))


def _export(library: Any, context: ctypes.c_void_p) -> bytes:
    descriptor = os.memfd_create("seccomp")
    try:
        _must(library.seccomp_export_bpf(context, descriptor))
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, size, 0)
    finally:
        os.close(descriptor)


def _must(result: int) -> None:
    if result:
        raise _Refused
