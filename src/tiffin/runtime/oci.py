"""The OCI runtime: where it is, how its verbs are called, and what its errors mean in docker's words.

The keeper imports this module: nothing heavy here.
"""

from __future__ import annotations

import os
import posix

from tiffin.errors import Corrupt, NotFound, StartFailed
from tiffin.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# What Debian calls the package of a program.
_PACKAGES = {"crun": "crun", "runc": "runc"}
_DEFAULTS = ("crun", "runc")
# Folders that a user's PATH may lack although runtimes lie there.
_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find(name: str = "", search_path: str = "") -> str:
    """Return the real path of an OCI runtime given by name or path; "" looks for crun, then runc.

    `search_path` is a PATH; the system's own folders are searched too. Raises NotFound, with the
    package to install.
    """
    if "/" in name:
        if os.access(name, os.X_OK) and os.path.isfile(name):
            return os.path.realpath(name)
        message = f"unknown or invalid runtime name: {name}"
        raise NotFound(message, hint="no executable file lies there")
    wanted = (name,) if name else _DEFAULTS
    for candidate in wanted:
        for folder in f"{search_path}:{_FOLDERS}".split(":"):
            path = f"{folder}/{candidate}"
            if folder.startswith("/") and os.access(path, os.X_OK) and os.path.isfile(path):
                return os.path.realpath(path)
    if name:
        message = f"unknown or invalid runtime name: {name}"
    else:
        message = "no OCI runtime found: neither crun nor runc is installed"
    package = _PACKAGES.get(wanted[0])
    hint = f"install it: apt-get install {package}" if package else "name one in PATH, or its whole path"
    raise NotFound(message, hint=hint)


def kind(path: str) -> str:
    """Return the name that a runtime's file goes by: crun, runc, or its own."""
    base = path.rpartition("/")[2]
    for known in _DEFAULTS:
        if base == known or base.startswith((f"{known}-", f"{known}.")):
            return known
    return base


def prefix(path: str, root: str, *, cgroups: bool = True) -> tuple[str, ...]:
    """Return the command's beginning: the runtime, the folder where it keeps its states.

    Without `cgroups` it shall not touch them: crun has an option for it, runc finds out by itself.
    """
    quiet = ("--cgroup-manager=disabled",) if not cgroups and kind(path) == "crun" else ()
    return (path, "--root", root, *quiet)


def root_of(runtime: Sequence[str]) -> str:
    """Return the folder that `prefix` names."""
    return runtime[2]


def run(
    runtime: Sequence[str], container_id: str, *, bundle: str, pid_file: str, console: str, log: str
) -> list[list[str]]:
    """Return the commands that make and start a container and leave it running.

    One of crun and runc does it; of others we want to see what they have made before it is started.
    """
    terminal = ("--console-socket", console) if console else ()
    options = ("--pid-file", pid_file, "--bundle", bundle, *terminal)
    begin = (*runtime, *_logging(runtime[0], log))
    if kind(runtime[0]) in _DEFAULTS:
        return [[*begin, "run", "--detach", *options, container_id]]
    return [[*begin, "create", *options, container_id], [*begin, "start", container_id]]


def execute(
    runtime: Sequence[str], container_id: str, *, process: str, pid_file: str, console: str, log: str
) -> list[str]:
    """Return the command that starts one more process in a container; `process` is a file of its JSON."""
    terminal = ("--console-socket", console) if console else ()
    options = ("--detach", "--pid-file", pid_file, "--process", process, *terminal)
    return [*runtime, *_logging(runtime[0], log), "exec", *options, container_id]


def _logging(path: str, log: str) -> tuple[str, ...]:
    """Return the options that say where errors go, in a form that `last_error` reads.

    crun uses the form on the container's own stderr as well, where its last word may be that the kernel
    cannot execute the program: that must be a sentence. runc's text is made for machines anyway.
    """
    return ("--log", log, "--log-format", "text" if kind(path) == "crun" else "json")


def delete(runtime: Sequence[str], container_id: str) -> list[str]:
    """Return the command that forgets a container, killing what is left of it."""
    return [*runtime, "delete", "--force", container_id]


def verb(runtime: Sequence[str], word: str, container_id: str) -> list[str]:
    """Return the command of a verb without options: pause, resume, state."""
    return [*runtime, word, container_id]


def update(runtime: Sequence[str], container_id: str, *, resources: str, log: str) -> list[str]:
    """Return the command that changes limits; `resources` is a file of OCI's JSON."""
    return [*runtime, *_logging(runtime[0], log), "update", "--resources", resources, container_id]


def last_error(log: bytes) -> str:
    """Return the message of the last error in a runtime's log (JSON lines; other text as it is)."""
    found = ""
    for line in log.decode(errors="replace").splitlines():
        if not line.startswith("{"):
            found = line.strip() or found
            continue
        try:
            entry = jsontext.load_object(line)
        except Corrupt:
            continue  # a torn line is no reason to hide the others
        if entry.get("level") in {"error", "fatal"} or not found:
            found = str(entry.get("msg") or found)
    return found.removesuffix("\n")


_VERBS = {
    "run": "failed to create task for container: unable to start container process",
    "exec": "OCI runtime exec failed: exec failed: unable to start container process",
}


def start_error(text: str, program: str, *, verb: str = "run") -> StartFailed:
    """Return docker's sentence and exit code for a runtime's refusal (127 not found, 126 not executable)."""
    for noise in ("runc run failed: ", "exec failed: ", "unable to start container process: "):
        text = text.removeprefix(noise)
    lower = text.lower()
    if "executable file" in lower and "not found in $path" in lower:
        # crun says $PATH for absolute paths too.
        found = "executable file not found in $PATH" if "/" not in program else _missing(program)
        cause, exit_code = f'exec: "{program}": {found}', 127
    elif text.startswith(f'exec: "{program}"'):
        cause, exit_code = text, _code(lower)
    elif text.startswith(("open executable:", "exec ")) or (text.startswith("execv") and program):
        reason = text.rpartition(": ")[2].lower()
        reason = "permission denied" if reason == "operation not permitted" else reason
        cause, exit_code = f'exec: "{program}": {reason}', _code(reason)
    else:
        cause, exit_code = text or "the runtime gave no reason", _code(lower)
    return StartFailed(f"{_VERBS[verb]}: {cause}", exit_code=exit_code)


def _missing(program: str) -> str:
    return f"stat {program}: no such file or directory"


def _code(text: str) -> int:
    """Sort a sentence as docker's client does."""
    if "executable file not found" in text or "no such file or directory" in text:
        return 127
    if posix.strerror(13).lower() in text or posix.strerror(21).lower() in text:
        return 126
    return 125


def version(path: str) -> str:
    """Return what a runtime says about itself with `--version`, "" if it says nothing."""
    output, end = os.pipe2(os.O_CLOEXEC)
    try:
        actions = ((os.POSIX_SPAWN_DUP2, end, 1), (os.POSIX_SPAWN_DUP2, end, 2))
        process = os.posix_spawn(path, [path, "--version"], {"PATH": _FOLDERS}, file_actions=actions)
    except OSError as error:
        raise NotFound(f"unknown or invalid runtime name: {path}", hint=str(error.strerror)) from error
    finally:
        os.close(end)
    with open(output, "rb") as stream:
        text = stream.read(65536)
    posix.waitpid(process, 0)
    return text.decode(errors="replace")
