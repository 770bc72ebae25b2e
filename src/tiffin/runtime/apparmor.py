"""AppArmor: which profile a container's processes get, and that it is loaded."""

from __future__ import annotations

import os

from tiffin.errors import NotFound, StartFailed, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.settings import Privilege

DEFAULT = "tiffin-default"
UNCONFINED = "unconfined"
_PROFILES = "/sys/kernel/security/apparmor/profiles"
_PARSERS = ("/usr/sbin/apparmor_parser", "/sbin/apparmor_parser")
_TEXT = f"{os.path.dirname(os.path.abspath(__file__))}/{DEFAULT}.apparmor"


def is_on() -> bool:
    """Tell whether this kernel confines by AppArmor, as far as we can see."""
    return os.path.exists(_PROFILES)


def find_parser() -> str:
    """Return the program that loads profiles, "" where there is none."""
    return next((path for path in _PARSERS if os.access(path, os.X_OK)), "")


def prepare(wanted: str, privilege: Privilege) -> str:
    """Return the profile of those who don't ask for one, "" for none; make sure that it is loaded.

    `wanted` is what was asked for, which is only checked: Unsupported where this host or this user has no
    AppArmor, NotFound where it has no such profile.
    """
    named = wanted not in {"", UNCONFINED}
    if not is_on() or privilege.rung != "root":
        if named:
            why = (
                "only root can confine containers by it"
                if is_on()
                else "this host does not have it, or not on"
            )
            raise Unsupported(f"apparmor={wanted} needs AppArmor: {why}", hint="leave the option out")
        return ""
    loaded = _loaded()
    if named and wanted != DEFAULT and wanted not in loaded:
        message = f"unable to apply apparmor profile: {wanted} is not loaded"
        raise NotFound(message, hint="apparmor_parser -r FILE loads one, aa-status shows all")
    if wanted == UNCONFINED or (named and wanted != DEFAULT):
        return ""
    if DEFAULT not in loaded:
        parser = find_parser()
        if not parser and not named:
            return ""  # as docker does; `tiffin doctor` says it
        _load(parser)
    return DEFAULT


def _loaded() -> set[str]:
    """Return the names of the profiles in the kernel: `NAME (MODE)` in each line."""
    with open(_PROFILES, encoding="utf-8", errors="replace") as stream:
        return {line.rpartition(" (")[0] for line in stream}


def _load(parser: str) -> None:
    import subprocess  # once a boot

    message = f"AppArmor enabled on system but the {DEFAULT} profile could not be loaded"
    if not parser:
        raise StartFailed(f"{message}: no apparmor_parser", exit_code=125, hint="apt-get install apparmor")
    done = subprocess.run([parser, "-Kr", _TEXT], capture_output=True, check=False, text=True)
    if done.returncode:
        raise StartFailed(f"{message}: {done.stderr.strip()}", exit_code=125)
