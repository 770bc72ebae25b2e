"""The bundle: `config.json` for the OCI runtime, and the files that docker mounts into /etc."""

from __future__ import annotations

from tiffin.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

CONFIG = "config.json"
_LOCAL = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)
_RESOLVED = "/run/systemd/resolve/resolv.conf"
RESOLVER = "127.0.0.11"
"""Where a container asks its keeper for names."""
_PUBLIC = ("8.8.8.8", "8.8.4.4")
"""What docker asks when the host names no server that a container could reach."""


def write_config(folder: str, spec: dict[str, Any]) -> None:
    """Write `config.json`; the folder is not in use yet."""
    _write(f"{folder}/{CONFIG}", jsontext.dumps(spec))


def write_etc(  # the words that docker has for them
    folder: str,
    *,
    hostname: str,
    host_network: bool = False,
    names: bool = False,
    extra_hosts: Sequence[str] = (),
    dns: Sequence[str] = (),
    stub: str = "",
    dns_search: Sequence[str] = (),
    dns_options: Sequence[str] = (),
) -> None:
    """Write hosts, hostname and resolv.conf into the folder, as docker has them for the kind of network.

    `names` says that a keeper answers names; `extra_hosts` are NAME:ADDRESS. The container's own addresses
    are added by its keeper, which knows them. `stub` answers for the host's servers, "" where nobody does.
    """
    lines = _read("/etc/hosts") if host_network else _LOCAL
    if lines and not lines.endswith("\n"):
        lines += "\n"
    for entry in extra_hosts:
        name, _, target = entry.partition(":" if ":" in entry else "=")
        lines += f"{target.strip('[]')}\t{name}\n"
    _write(f"{folder}/hosts", lines)
    _write(f"{folder}/hostname", f"{hostname}\n")
    given = (list(dns) or [stub] * bool(stub), list(dns_search), list(dns_options))
    if names:
        options = list(dns_options)
        if not any(option.startswith("ndots:") for option in options):
            options.append("ndots:0")
        given = ([RESOLVER], given[1], options)
    _write(f"{folder}/resolv.conf", resolv_conf(_host_resolv(), given, host_network=host_network))


def resolv_conf(text: str, given: tuple[list[str], list[str], list[str]], *, host_network: bool) -> str:
    """Return a resolv.conf: what was given (servers, search, options) wins over the host's `text`.

    Servers on the host's loopback are left out, as a container cannot reach them, unless it shares the
    host's network.
    """
    servers, search, options = [], [], []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        if words[0] == "nameserver" and len(words) > 1:
            servers.append(words[1])
        elif words[0] in {"search", "domain"}:
            search = words[1:]
        elif words[0] == "options":
            options += words[1:]
    if not host_network:
        servers = [s for s in servers if not s.startswith("127.") and s != "::1"] or list(_PUBLIC)
    servers, search, options = given[0] or servers, given[1] or search, given[2] or options
    lines = [f"nameserver {server}\n" for server in servers]
    if search and search != ["."]:
        lines.append(f"search {' '.join(search)}\n")
    if options:
        lines.append(f"options {' '.join(options)}\n")
    return "".join(lines)


def _host_resolv() -> str:
    """Return the host's resolver settings; behind a local stub stands systemd-resolved's own file."""
    text = _read("/etc/resolv.conf")
    if "nameserver 127.0.0.53" in text:
        return _read(_RESOLVED) or text
    return text


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
