"""The house rules that a reader may rely on: arrows, what only one room may do, sizes, manners of tests.

Modules are parsed, never imported. What is imported at start-up is measured in `test_startup.py`.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
from functools import cache
from typing import NamedTuple

import pytest

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Rooms from the bottom up; those in one row are siblings and do not know each other.
ROWS = (
    {"errors"},
    {"spec"},
    {"settings"},
    {"layer"},
    {"store"},
    {"registry", "archive", "runtime", "network", "build"},
    {"keeper"},
    {"engine"},
    {"http"},
    {"api", "box", "ui"},
    {"aio", "pytest", "notebook"},
    {"cli"},
    {"__main__"},
)
FLOOR = {room: number for number, row in enumerate(ROWS) for room in row}

# The package's own door: it names what is public and loads it when it is used.
DOOR = "tiffin"

# Who else may do what belongs to one room; the reason stands beside it.
MAY_LEAVE_A_PROCESS = {
    "engine.visitor": "a visitor runs in a process of its own, and ends it",
    "keeper": "a keeper is a process of its own, and ends it",
    "layer.worker": "an extraction runs in a process of its own, and ends it",
}
MAY_RENAME = {
    "layer.worker": "writes only inside the one folder that it is confined to",
}
MAY_PRINT: dict[str, str] = {}

# What the keeper may know of the other rooms.
KEEPER_MAY_IMPORT = {
    "errors",
    "spec",
    "settings",
    "store.atomic",
    "store.journal",
    "runtime.capabilities",
    "runtime.oci",
    "network",
    "keeper",
}
# Built-in or C modules, or so small that a process that stays can afford them.
KEEPER_STDLIB = {
    "__future__", "_ctypes", "_json", "_posixsubprocess", "_signal", "_socket", "_struct", "_thread", "array",
    "base64", "binascii", "collections.abc", "ctypes", "errno", "fcntl", "marshal", "os", "posix", "select",
    "struct", "sys", "termios", "time", "typing", "zlib",
}  # fmt: skip

MODULE_LINES = 600
FUNCTION_LINES = 60
# (module or module:function, the reason). An excuse that is no longer needed fails.
EXCUSED_SIZES: dict[str, str] = {}

HOMELESS_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "tools"}


class Module(NamedTuple):
    """One source file below src/tiffin, parsed."""

    name: str  # without the package: "store.atomic"
    path: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The folder, or the file where it is a room by itself."""
        return self.name.partition(".")[0]

    def is_one_of(self, names: dict[str, str] | set[str]) -> bool:
        """Tell whether the module, or its whole room, is in the list."""
        return self.name in names or self.room in names


def _tracked_files() -> list[str]:
    """Return the repository's text files: those that git knows or would add; all, without git."""
    listing = subprocess.run(
        ["git", "-C", REPOSITORY, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0:
        return [p for p in listing.stdout.decode().split("\0") if p and os.path.isfile(f"{REPOSITORY}/{p}")]
    skipped = {".git", ".venv", "__pycache__", "build", "dist", ".mypy_cache", ".ruff_cache", ".hypothesis"}
    found = []
    for folder, folders, names in os.walk(REPOSITORY):
        folders[:] = [f for f in folders if f not in skipped and not f.endswith(".egg-info")]
        found += [os.path.relpath(os.path.join(folder, name), REPOSITORY) for name in names]
    return found


@cache
def files() -> dict[str, str]:
    """Return path -> text of every text file of the project."""
    texts = {}
    for path in _tracked_files():
        with open(os.path.join(REPOSITORY, path), "rb") as stream:
            raw = stream.read()
        if b"\0" not in raw:
            texts[path] = raw.decode(errors="replace")
    return texts


@cache
def modules() -> tuple[Module, ...]:
    """Return every module of the package."""
    prefix = "src/tiffin/"
    found = []
    for path, text in sorted(files().items()):
        if path.startswith(prefix) and path.endswith(".py"):
            name = path.removeprefix(prefix).removesuffix(".py").replace("/", ".").removesuffix("__init__")
            found.append(Module(name.rstrip(".") or DOOR, path, text, ast.parse(text, path)))
    assert found
    return tuple(found)


def imports(module: Module) -> list[tuple[int, str]]:
    """Return (line, dotted name) of every import, at any depth; `from a import b` also gives `a.b`."""
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.path}:{node.lineno}: imports are absolute here"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def own_imports(module: Module) -> list[tuple[int, str]]:
    """Return the imports of tiffin's own modules, without the package's name."""
    return [(line, name.partition(".")[2]) for line, name in imports(module) if name.startswith("tiffin.")]


def _is_typing_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def runtime_nodes(tree: ast.AST) -> list[ast.AST]:
    """Return every node but those under `if TYPE_CHECKING:`."""
    found, todo = [], [tree]
    while todo:
        node = todo.pop()
        found.append(node)
        if isinstance(node, ast.If) and _is_typing_guard(node):
            todo += node.orelse
        else:
            todo += ast.iter_child_nodes(node)
    return found


def uses(module: Module, wanted: dict[str, set[str]]) -> list[str]:
    """Return "path:line: os.rename" for each use of `module.attribute`, whatever name it was imported as."""
    names: dict[str, str] = {}
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module in wanted:
            found += [
                f"{module.path}:{node.lineno}: {node.module}.{alias.name}"
                for alias in node.names
                if alias.name in wanted[node.module]
            ]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = names.get(node.value.id, "")
            if node.attr in wanted.get(owner, ()):
                found.append(f"{module.path}:{node.lineno}: {owner}.{node.attr}")
    return found


def test_every_module_lives_in_a_room_of_the_plan() -> None:
    """A new room is a decision: it is drawn in ROWS (and in docs/architecture.md) first."""
    assert {m.room for m in modules()} - {DOOR} <= set(FLOOR)


def test_imports_point_only_down() -> None:
    """A module imports, at any depth and for types too, only its own room and rooms below it."""
    wrong = []
    for module in modules():
        if module.name == DOOR:
            continue
        for line, name in own_imports(module):
            room = name.partition(".")[0]
            if room in FLOOR and room != module.room and FLOOR[room] >= FLOOR[module.room]:
                wrong.append(f"{module.path}:{line}: {module.room} imports {name}")
    assert not wrong


def test_nothing_imports_tests_or_the_door() -> None:
    """Inside the package a name is imported from its home, not through `tiffin` itself."""
    wrong = [
        f"{m.path}:{line}: {name}"
        for m in modules()
        for line, name in imports(m)
        if m.room not in {"cli", "__main__"} and re.fullmatch(r"tiffin\.[A-Z]\w*|tests(\..*)?", name)
    ]
    assert not wrong


def test_typing_is_not_imported_at_run_time() -> None:
    """`typing` costs 9 ms: it stands under `if TYPE_CHECKING:` everywhere."""
    wrong = []
    for module in modules():
        for node in runtime_nodes(module.tree):
            named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                named = [str(node.module)]
            wrong += [f"{module.path}:{node.lineno}" for n in named if n == "typing"]  # type: ignore[attr-defined]
    assert not wrong


def test_only_settings_reads_the_environment() -> None:
    """What the environment says is decided once, in settings.py, and handed on as data."""
    wanted = {
        "os": {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"},
        "posix": {"environ", "putenv", "unsetenv"},
    }
    wrong = [use for m in modules() if m.room != "settings" for use in uses(m, wanted)]
    assert not wrong


def test_only_the_terminal_prints_or_exits() -> None:
    """A library prints nothing and ends nobody's process: only cli/ does, and a process of our own itself."""
    wrong = []
    for module in modules():
        if module.room in {"cli", "__main__"}:
            continue
        if not module.is_one_of(MAY_LEAVE_A_PROCESS):
            wrong += uses(module, {"sys": {"exit"}, "os": {"_exit", "abort"}, "posix": {"_exit", "abort"}})
        if not module.is_one_of(MAY_PRINT):
            wrong += uses(module, {"sys": {"stdout", "stderr", "__stdout__", "__stderr__"}})
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Name) and node.id in {"print", "SystemExit", "breakpoint", "input"}:
                wrong.append(f"{module.path}:{node.lineno}: {node.id}")
    assert not wrong


def test_only_the_store_renames_syncs_and_locks() -> None:
    """What survives a crash is decided in one room."""
    calls = {"rename", "renames", "replace", "fsync", "fdatasync", "sync"}
    wanted = {
        "os": calls | {"lockf"},
        "posix": calls | {"lockf"},
        "fcntl": {"flock", "lockf"},
        "shutil": {"move"},
    }
    wrong = [
        use for m in modules() if m.room != "store" and not m.is_one_of(MAY_RENAME) for use in uses(m, wanted)
    ]
    assert not wrong


def test_the_keeper_imports_nothing_heavy() -> None:
    """The process that stays knows few modules of other rooms, and of Python only what is small."""
    wrong = []
    for module in modules():
        if module.room != "keeper":
            continue
        for node in runtime_nodes(module.tree):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            if isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            else:
                named = [f"{node.module}.{alias.name}" for alias in node.names]
            wrong += [f"{module.path}:{node.lineno}: {name}" for name in named if not _keeper_may(name)]
    assert not wrong


def _keeper_may(name: str) -> bool:
    if name.startswith("tiffin."):
        parts = name.split(".")[1:]
        return bool({parts[0], ".".join(parts[:2])} & KEEPER_MAY_IMPORT)
    return name in KEEPER_STDLIB or name.rpartition(".")[0] in KEEPER_STDLIB


def test_no_module_is_a_drawer_for_everything() -> None:
    """A module called utils has no subject; its lines have homes."""
    assert not [m.path for m in modules() if HOMELESS_NAMES & set(m.name.split("."))]


def _sizes() -> dict[str, int]:
    """Return the excesses: module, or module:function, -> its lines."""
    found = {}
    for module in modules():
        lines = module.text.count("\n")
        if lines > MODULE_LINES:
            found[module.name] = lines
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > FUNCTION_LINES:
                    found[f"{module.name}:{node.name}"] = length
    return found


def test_functions_and_files_stay_short() -> None:
    """No function over 60 lines and no file over 600 without a written reason, and no reason without need."""
    sizes = _sizes()
    assert {k: v for k, v in sizes.items() if k not in EXCUSED_SIZES} == {}
    assert set(EXCUSED_SIZES) <= set(sizes), "an excuse that is no longer needed"


def _test_files() -> dict[str, ast.Module]:
    return {p: ast.parse(t, p) for p, t in files().items() if p.startswith("tests/") and p.endswith(".py")}


def test_tests_do_not_sleep() -> None:
    """A test waits for an event; a sleep is too short on a busy machine and too long on an idle one."""
    wrong = []
    for path, tree in _test_files().items():
        module = Module("tests", path, "", tree)
        wrong += uses(module, {"time": {"sleep"}, "asyncio": {"sleep"}})
    assert not wrong


def test_tests_replace_none_of_our_code() -> None:
    """Real parts, or fakes that play a role; a mock of our own code tests the mock."""
    wrong = []
    for path, tree in _test_files().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(("unittest.mock", "mock")):
                wrong.append(f"{path}:{node.lineno}: mock")
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                patches = node.value.id in {"monkeypatch", "mocker"} and node.attr in {"setattr", "patch"}
                wrong += [f"{path}:{node.lineno}: {node.value.id}.{node.attr}"] * patches
    assert not wrong


def test_each_test_states_its_property() -> None:
    """The docstring of a test is the property that it holds; without one nobody dares to change it."""
    wrong = []
    for path, tree in _test_files().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                wrong += [f"{path}:{node.lineno}: {node.name}"] * (ast.get_docstring(node) is None)
    assert not wrong


# Hosts that may be named: Docker Hub's own, this machine, names reserved for examples, and where licences
# and specifications stand.
_HOSTS = re.compile(
    r"(\w+\.)*docker\.(io|com|internal)|[\w%-]+|127\.\d+\.\d+\.\d+|\[.*|(\w+\.)*example(\.(com|org|net))?"
    r"|(\w+\.)*(test|invalid)|www\.apache\.org|github\.com|(\w+\.)*opencontainers\.org|10\.\d+\.\d+\.\d+|\.+|\{.*"
)
# Backwards, so that this file does not name them.
_REGISTRIES = [
    name[::-1]
    for name in (
        "oi.rchg", "oi.yauq", "oi.rcg", "moc.tfosorcim.rcm", "swa.rce.cilbup", "oi.s8k.yrtsiger", "gro.ipyp",
        "gro.detsohnohtyp",
    )
]  # fmt: skip
_MACHINE_PATHS = [path[::-1] for path in ("/krow/", "/vneyp", "sleehw/tpo/")]


@pytest.mark.parametrize("kind", ["registry", "path", "address"])
def test_no_place_of_this_world_is_written_down(kind: str) -> None:
    """No foreign registry, no path of somebody's machine and no stray address stands in the tree."""
    wrong = []
    for path, text in files().items():
        if kind == "address":
            found = [h for h in re.findall(r"https?://([^/\s:\"'`)>]+)", text) if not _HOSTS.fullmatch(h)]
        else:
            found = [w for w in (_REGISTRIES if kind == "registry" else _MACHINE_PATHS) if w in text]
        wrong += [f"{path}: {word}" for word in found]
    assert not wrong
