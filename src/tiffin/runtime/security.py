"""`--security-opt`: docker's words, read once."""

from __future__ import annotations

from tiffin.errors import InvalidArgument
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Security(Value):
    """What was asked for. `seccomp` is "" (the default), "unconfined" or a profile's JSON text."""

    seccomp: str = ""
    no_new_privileges: bool = False
    apparmor: str = ""
    system_paths: bool = False  # nothing masked, nothing read-only


def parse(options: Sequence[str]) -> Security:
    """Read the options; a seccomp profile given as a file is read here. Raises InvalidArgument."""
    found = Security()
    for option in options:
        name, _, value = option.partition("=" if "=" in option else ":")
        if name == "no-new-privileges" and value in {"", "true", "false"}:
            found = found.replace(no_new_privileges=value != "false")
        elif name == "seccomp" and value:
            found = found.replace(seccomp=_profile(value))
        elif name == "apparmor" and value:
            found = found.replace(apparmor=value)
        elif name == "systempaths" and value == "unconfined":
            found = found.replace(system_paths=True)
        elif name != "label" or not value:  # labels are SELinux's, which is not here: they change nothing
            message = f'invalid --security-opt: "{option}"'
            raise InvalidArgument(
                message, hint="known are seccomp=, apparmor=, no-new-privileges and systempaths=unconfined"
            )
    return found


def _profile(value: str) -> str:
    if value == "unconfined":
        return value
    if value in {"builtin", "default"}:
        return ""
    if value.lstrip().startswith("{"):
        return value
    try:
        with open(value, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        message = f"opening seccomp profile ({value}) failed: open {value}: {(reason or '').lower()}"
        raise InvalidArgument(message) from error
