"""version, info and fsck: the engine itself."""

from __future__ import annotations

import sys

from tiffin.cli.command import DONE, JSON_FORMAT, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.store.fsck import Finding

# (the line's title, the member of info); docker's order.
_INFO = (
    ("Containers", "Containers"),
    (" Running", "ContainersRunning"),
    (" Paused", "ContainersPaused"),
    (" Stopped", "ContainersStopped"),
    ("Images", "Images"),
    ("Server Version", "ServerVersion"),
    ("Storage Driver", "Driver"),
    ("Logging Driver", "LoggingDriver"),
    ("Logging Bounds", "LoggingBounds"),
    ("Cgroup Version", "CgroupVersion"),
    ("Default Runtime", "DefaultRuntime"),
    ("Runtime Version", "RuntimeVersion"),
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
    ("Total Memory", "MemTotal"),
    ("Name", "Name"),
    ("Docker Root Dir", "DockerRootDir"),
    ("Run Dir", "RunDir"),
    ("Rung", "Rung"),
    (" Not higher because", "RungReason"),
    (" To get there", "RungRemedy"),
    ("Durable", "Durable"),
    ("Offline", "Offline"),
    ("Discard Blobs", "DiscardBlobs"),
    ("HTTP Proxy", "HttpProxy"),
    ("HTTPS Proxy", "HttpsProxy"),
    ("No Proxy", "NoProxy"),
    ("Largest Archive", "MaxUnpackedBytes"),
    (" Entries", "MaxEntries"),
    (" Bytes in a Name", "MaxNameLength"),
    (" Times Its Packed Size", "MaxRatio"),
)


def version(parsed: Parsed, session: Session) -> int:
    """Print the versions; the client and the server are the same program here."""
    server = session.engine.system.version()
    client = {key: server[key] for key in ("Version", "ApiVersion", "Os", "Arch")}
    both = {"Client": {**client, "DefaultAPIVersion": server["ApiVersion"]}, "Server": server}
    if parsed.text("format"):
        return _templated(parsed.text("format"), both)
    lines = ["Client: Tiffin", *_versions(client, " ", 18), "", "Server: Tiffin"]
    lines += [" Engine:", *_versions(server, "  ", 17)]
    for component in server["Components"]:
        if component["Name"] != "Engine":
            lines += [f" {component['Name']}:", f"  {'Version:':<17}{component['Version']}"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _versions(value: dict[str, Any], indent: str, width: int) -> list[str]:
    minimum = f" (minimum version {value['MinAPIVersion']})" if "MinAPIVersion" in value else ""
    rows = [
        ("Version:", value["Version"]),
        ("API version:", value["ApiVersion"] + minimum),
        ("Python version:", value.get("Python", "")),
        ("OS/Arch:", f"{value['Os']}/{value['Arch']}"),
    ]
    return [f"{indent}{title:<{width}} {shown}" for title, shown in rows if shown]


def info(parsed: Parsed, session: Session) -> int:
    """Print what the engine is and has."""
    facts = session.engine.system.info()
    if parsed.text("format"):
        return _templated(parsed.text("format"), facts)
    lines = [f"{title}: {_fact(member, facts[member])}" for title, member in _INFO if facts.get(member) != ""]
    for host, said in facts["RegistryConfig"]["IndexConfigs"].items():
        lines.append(f"Registry {host}:" + ("" if said["Secure"] else " insecure"))
        lines += [f" Mirror: {mirror}" for mirror in said["Mirrors"]]
    sys.stdout.write("Server:\n" + "".join(f" {line}\n" for line in lines))
    sys.stdout.flush()
    for warning in facts.get("Warnings", ()):
        sys.stderr.write(f"WARNING: {warning}\n")
    return 0


def _fact(member: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if member in {"MemTotal", "MaxUnpackedBytes"} and isinstance(value, int):
        return _binary(value)
    return str(value)


def _binary(count: float) -> str:
    """Return bytes by powers of 1024, four digits, as docker shows memory: `7.663GiB`."""
    units = ["TiB", "GiB", "MiB", "KiB", "B"]
    while count >= 1024 and len(units) > 1:
        units.pop()
        count /= 1024
    return f"{count:.4g}{units[-1]}"


def _templated(wanted: str, value: object) -> int:
    from tiffin.cli import template

    text = "{{json .}}" if wanted == "json" else wanted.replace("\\t", "\t").replace("\\n", "\n")
    sys.stdout.write(template.parse(text).render(value) + "\n")
    return 0


def fsck(parsed: Parsed, session: Session) -> int:
    """Print what is wrong with the store, then what is left over; 1 if something is wrong and stays so."""
    from tiffin.box import fsck as boxes

    repair, settings = parsed.flag("repair"), session.settings
    if boxes.is_registry(settings.root):
        findings = boxes.check(settings, repair=repair)
    else:
        findings = list(session.engine.system.fsck(repair=repair))
        box = settings.replace(root=f"{settings.root}/box")
        findings += boxes.check(box, repair=repair) if boxes.is_registry(box.root) else ()
    damage = [finding for finding in findings if finding.is_damage]
    for finding in damage:
        done = "repaired" if finding.repaired else "found"
        sys.stdout.write(f"{done}: {finding.kind}: {finding.path}: {finding.message}\n")
    left = sum(not finding.repaired for finding in damage)
    if not damage:
        sys.stdout.write("the store is whole\n")
    elif left and not repair:
        sys.stdout.write(f"{left} to repair: tiffin fsck --repair\n")
    _tell_rubbish([finding for finding in findings if not finding.is_damage], removed=repair)
    return 1 if left else 0


def _tell_rubbish(rubbish: list[Finding], *, removed: bool) -> None:
    """Print what interrupted commands left, with bytes and what removes it; nothing is wrong with that."""
    if not rubbish:
        return
    for finding in rubbish:
        sys.stdout.write(f"note: {finding.path}: {finding.message}, {finding.size} bytes\n")
    total = sum(finding.size for finding in rubbish)
    rest = "removed" if removed else "which the next prune removes, or tiffin fsck --repair"
    sys.stdout.write(f"note: interrupted commands have left {total} bytes, {rest}\n")


VERSION = Command(
    spellings=("version",),
    usage="[OPTIONS]",
    short="Show the Docker version information",
    maximum=0,
    flags=(("format", "f", "string", JSON_FORMAT, "", DONE),),
    handler=version,
)
INFO = Command(
    spellings=("system info", "info"),
    usage="[OPTIONS]",
    short="Display system-wide information",
    maximum=0,
    flags=(("format", "f", "string", JSON_FORMAT, "", DONE),),
    handler=info,
)
FSCK = Command(
    spellings=("fsck",),
    usage="[OPTIONS]",
    short="Check the store, and repair it",
    maximum=0,
    flags=(("repair", "", "bool", "Put right what is found", "", DONE),),
    handler=fsck,
)
