"""What the short commands import: start-up time is decided here, not by accident.

Each command is really run and asked by `-X importtime`. A module that is not listed fails, and so does a
listed one that no command imports any more. Before adding a line, ask whether the import can stand in the
function that needs it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.netns import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENTRY = os.path.join(REPOSITORY, "bin", "tiffin")

# Built-in and C modules (0.1 to 0.8 ms each), and what `_sqlite3` itself imports: functools and below it.
_STDLIB = """
    __future__ _collections _functools _json _operator _socket _sqlite3 binascii collections errno fcntl
    functools gc itertools keyword operator reprlib select termios types
"""
# What the keeper needs, which `run` and `start` fork before they import anything else.
_KEEPER = "_ctypes _struct ctypes ctypes._endian struct"
STDLIB = {*_STDLIB.split(), *_KEEPER.split()}

# Modules of tiffin by command; packages themselves (`tiffin.spec`) are not counted.
COMMON = """
    cli.command cli.entry cli.index cli.parser cli.session
    engine.engine engine.keepers
    errors
    settings
    spec.clock spec.jsontext spec.state spec.value
    store.atomic store.database store.layout store.store
"""
_RUN = """
        cli.keyvalues cli.options cli.run cli.run_flags cli.terminal
        engine.bundle engine.containers engine.create engine.forget engine.merge engine.mounts engine.start
        engine.views
        keeper.backlog keeper.cgroup keeper.client keeper.confinement keeper.container keeper.early
        keeper.execs keeper.facts keeper.frames keeper.holdings keeper.kernel keeper.listener keeper.log
        keeper.loop keeper.main keeper.peer keeper.process keeper.request
        runtime.bundle runtime.capabilities runtime.devices runtime.limits runtime.machine runtime.oci
        runtime.seccomp runtime.security runtime.specgen runtime.user
        spec.container spec.descriptor spec.detach spec.digest spec.image spec.members spec.mount
        spec.platform spec.port spec.reference
        store.containers store.events store.images store.journal store.leases store.mountpoints store.names
        store.overlay store.snapshots store.volumes
    """
ALLOWED = {
    "ps": """
        cli.format cli.ps
        engine.containers engine.listing engine.views
        spec.container spec.lapse spec.members spec.mount spec.port
        store.containers
    """,
    "images": """
        cli.format cli.images
        engine.image_views engine.images
        spec.descriptor spec.digest spec.lapse spec.platform spec.reference
        store.images
    """,
    "run": _RUN,
    # The default network; its keeper imports what it needs while this command still works.
    "run, bridged": f"""{_RUN}
        engine.wiring network.plan network.rules network.subnet
        spec.network store.networks
    """,
}


@cache
def bare() -> frozenset[str]:
    """Return what an interpreter of this environment imports by itself."""
    return imported([sys.executable, "-X", "importtime", "-c", "pass"], {})


def imported(command: list[str], environment: dict[str, str]) -> frozenset[str]:
    """Run a command and return the names of all modules that it imported."""
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    text = done.stderr.decode()
    assert done.returncode == 0, text
    lines = [line.split("|") for line in text.splitlines() if line.startswith("import time:")]
    return frozenset(parts[2].strip() for parts in lines if parts[1].strip() != "cumulative")


class Place:
    """A store of its own, and the command line on it, on a host of the test's own."""

    def __init__(self, folder: str, host: Host) -> None:
        """Lie below a folder."""
        self.host = host
        self.environment = {"TIFFIN_ROOT": f"{folder}/root", "TIFFIN_RUN": f"{folder}/run"}

    def tiffin(self, *words: str) -> None:
        """Run a command that must succeed."""
        command = self.host.argv(sys.executable, ENTRY, *words)
        subprocess.run(command, env=os.environ | self.environment, check=True)

    def imports(self, *words: str) -> frozenset[str]:
        """Run a command that must succeed, and return what it imports beyond a bare interpreter."""
        command = self.host.argv(sys.executable, "-X", "importtime", ENTRY, *words)
        return imported(command, self.environment) - bare()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Make a store with one image and one running container."""
    if os.geteuid() != 0:
        pytest.skip("running a container needs root")
    folder = str(tmp_path_factory.mktemp("startup"))
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no busybox here (Debian: busybox-static)")
    shutil.copy(busybox, f"{folder}/busybox")
    with open(f"{folder}/Dockerfile", "w") as stream:
        stream.write('FROM scratch\nCOPY busybox /bin/sh\nCMD ["/bin/sh"]\n')
    with Host() as host:
        made = Place(folder, host)
        made.tiffin("build", "-t", "sh:1", folder)
        made.tiffin("run", "-d", "-i", "--name", "one", "--network", "none", "sh:1")
        yield made
        made.tiffin("rm", "-f", "one")


COMMANDS = {
    "ps": ["ps"],
    "images": ["images"],
    "run": ["run", "--rm", "--network", "none", "sh:1", "/bin/sh", "-c", "exit"],
    "run, bridged": ["run", "--rm", "sh:1", "/bin/sh", "-c", "exit"],
    "exec": ["exec", "one", "/bin/sh", "-c", "exit"],
    "stop": ["stop", "-t", "0", "one"],
    "start": ["start", "one"],
    "rm": ["rm", "-f", "two"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_short_commands_import_only_what_is_cheap(place: Place, name: str) -> None:
    """What a command on local things imports of Python is built in, written in C, or in the list."""
    if name == "rm":
        place.tiffin("create", "--name", "two", "sh:1")
    found = {module for module in place.imports(*COMMANDS[name]) if not module.startswith("tiffin")}
    assert found - STDLIB == set()


@pytest.mark.parametrize("name", ALLOWED)
def test_the_hot_commands_import_only_what_they_need(place: Place, name: str) -> None:
    """`ps`, `images` and `run` of a local image import exactly the modules that are listed for them."""
    allowed = set((COMMON + ALLOWED[name]).split())
    packages = {name.rpartition(".")[0] for name in allowed}
    found = {m.removeprefix("tiffin.") for m in place.imports(*COMMANDS[name]) if m.startswith("tiffin.")}
    found -= packages
    assert found - allowed == set()
    assert allowed - found == set(), "listed, but not imported"
