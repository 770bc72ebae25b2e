"""system start and generate systemd: containers that come back with the host."""

from __future__ import annotations

import os
import sys

from tiffin.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.settings import Settings

_UNIT = """\
# Made by `tiffin generate systemd`. Install it:
#   {install}
[Unit]
Description=Start the containers whose restart policy wants it (tiffin, {root})
{order}RequiresMountsFor={root}

[Service]
Type=oneshot
RemainAfterExit=yes
{environment}ExecStart={command} system start
TimeoutStartSec=infinity

[Install]
WantedBy={target}
"""


def start(_parsed: Parsed, session: Session) -> int:
    """Print the name of each container that was started; 1 if one could not be."""
    failed = False
    for revived in session.engine.system.start():
        if revived.error:
            failed = True
            sys.stderr.write(f"tiffin: start {revived.name}: {revived.error}\n")
        else:
            sys.stdout.write(f"{revived.name}\n")
            sys.stdout.flush()
    return int(failed)


def generate(_parsed: Parsed, session: Session) -> int:
    """Print the unit: root's for the system, anybody else's for their own service manager."""
    sys.stdout.write(unit(session.settings))
    return 0


def unit(settings: Settings) -> str:
    """Return a unit that starts, at boot, what the policies of this store's containers want."""
    root = settings.privilege.rung == "root"
    folder = "/etc/systemd/system" if root else "~/.config/systemd/user"
    systemctl = "systemctl" if root else "systemctl --user"
    install = f"tiffin generate systemd > {folder}/tiffin.service && {systemctl} enable tiffin"
    order = "Wants=network-online.target\nAfter=network-online.target\n" if root else ""
    words = {"TIFFIN_ROOT": settings.root, "TIFFIN_RUN": settings.run}
    return _UNIT.format(
        install=install if root else f"{install} && loginctl enable-linger",
        root=_escaped(settings.root),
        order=order,
        environment="".join(f'Environment="{k}={_escaped(v)}"\n' for k, v in words.items()),
        command=_command(),
        target="multi-user.target" if root else "default.target",
    )


def _command() -> str:
    """Return how this very tiffin is called, whatever the PATH is at boot."""
    called = os.path.abspath(sys.argv[0])
    if os.path.basename(called) == "tiffin" and os.access(called, os.X_OK):
        return _escaped(called)
    return f"{_escaped(sys.executable)} -m tiffin"


def _escaped(text: str) -> str:
    """Return a path as a unit file wants it: no specifiers, no words."""
    return text.replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"').replace(" ", "\\x20")


SYSTEM_START = Command(
    spellings=("system start",),
    usage="",
    short="Start the containers whose restart policy wants it, after a boot",
    maximum=0,
    flags=(),
    handler=start,
)
GENERATE_SYSTEMD = Command(
    spellings=("generate systemd",),
    usage="",
    short="Print a systemd unit that starts containers at boot, as their policies want",
    maximum=0,
    flags=(),
    handler=generate,
)
