"""Dockerfiles, each with what comes of it: config, history, files, warnings, or the error and its place.

A file of cases/ holds many: a title, options as JSON where there are any, the Dockerfile, files of its own
(`--- PATH`), and below `--- is` what is expected. The context is the same for all. With TIFFIN_WRITE_CASES=1
what comes is written instead of compared: read the difference.
"""

from __future__ import annotations

import io
import json
import os
import pathlib
import re
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.build.bench import Bench
from tiffin.build.roles import Options
from tiffin.errors import BuildFailed, DockerfileError, TiffinError
from tiffin.spec.container import ContainerConfig
from tiffin.spec.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.build.roles import Built

_FOLDER = pathlib.Path(__file__).with_name("cases")
_FILES = {
    "a.txt": "A\n",
    "b.txt": "B\n",
    "dir/c.txt": "C\n",
    "dir/sub/d.md": "D\n",
    "sp ace.txt": "S\n",
    "arr[0].txt": "R\n",
}


class Case:
    """One Dockerfile and what is expected of it."""

    def __init__(self, text: str) -> None:
        """Read one case of a file."""
        body, _, self.expected = text.partition("--- is\n")
        head, *files = body.split("\n--- ")
        self.title, _, dockerfile = head.partition("\n")
        self.options: dict[str, object] = {}
        if dockerfile.startswith("{"):
            line, _, dockerfile = dockerfile.partition("\n")
            self.options = json.loads(line)
        self.dockerfile = dockerfile if dockerfile.endswith("\n") else dockerfile + "\n"
        pairs = (part.partition("\n")[::2] for part in files)
        self.files = {name: content if content.endswith("\n") else content + "\n" for name, content in pairs}
        self.body = body

    def text(self) -> str:
        """Return the case as it stands in its file."""
        return f"=== {self.body}--- is\n{self.expected}"


def cases(name: str) -> list[Case]:
    """Return the cases of one file."""
    return [Case(text) for text in (_FOLDER / name).read_text("utf-8").split("=== ")[1:]]


def _all() -> list[tuple[str, int]]:
    names = sorted(path.name for path in _FOLDER.iterdir())
    return [(name, number) for name in names for number in range(len(cases(name)))]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench with three images and the context that all cases have."""
    if os.geteuid() != 0:
        pytest.skip("layers are made as root here")
    made = Bench(str(tmp_path_factory.mktemp("cases")))
    made.add_base()
    for name, triggers in (
        ("triggered", ("ENV T=1", "COPY a.txt /one", "COPY <<E /two\n$T\nE")),
        ("takes", ("COPY --from=build /made /taken",)),
    ):
        config = ContainerConfig(env=("PATH=/bin",), on_build=triggers)
        made.add_base(f"docker.io/library/{name}:latest", config=config)
    for path, text in _FILES.items():
        made.write(path, text)
    made.write("run.sh", "#!/bin/sh\n", 0o755)
    os.symlink("a.txt", f"{made.context}/link")
    os.symlink("dir/sub", f"{made.context}/links")
    made.write("archive.tar.gz", _archive())
    yield made
    made.store.close()


def _archive() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        folder = tarfile.TarInfo("t")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o750
        archive.addfile(folder)
        file = tarfile.TarInfo("t/x")
        file.size, file.uid, file.gid, file.mode = 2, 3, 4, 0o640
        archive.addfile(file, io.BytesIO(b"X\n"))
        link = tarfile.TarInfo("l")
        link.type, link.linkname = tarfile.SYMTYPE, "t/x"
        archive.addfile(link)
    return stream.getvalue()


def outcome(bench: Bench, case: Case) -> str:
    """Build, and tell in lines what came of it."""
    words = dict(case.options)
    file = str(words.pop("file", ""))
    if "platform" in words:
        words["platform"] = Platform.parse(str(words["platform"]))
    for name, text in case.files.items():
        bench.write(name, text)
    if file:
        file = f"{bench.context}/{file}"
    try:
        built = bench.build("" if file else case.dockerfile, file=file, options=Options(**words))  # type: ignore[arg-type]
    except BuildFailed as error:
        return f"failed: {error.message}\n"
    except TiffinError as error:
        return _wrong(error)
    finally:
        for name in case.files:
            os.unlink(f"{bench.context}/{name}")
    return _right(bench, built)


def _wrong(error: TiffinError) -> str:
    place = error if isinstance(error, DockerfileError) else error.place
    where = f" at {place.line}:{place.column}" if place else ""
    hint = f"hint: {error.hint}\n" if error.hint else ""
    return f"{type(error).__name__}{where}: {error.message}\n{hint}"


def _right(bench: Bench, built: Built) -> str:
    lines = []
    for key, value in built.config.config.to_image_json().items():
        if value and [key, value] != ["WorkingDir", "/"]:
            lines.append(f"{key}: {json.dumps(value, ensure_ascii=False)}")
    if str(built.platform) != str(Platform.here()):
        lines.append(f"platform: {built.platform}")
    if built.config.author:
        lines.append(f"author: {built.config.author}")
    history = [entry for entry in built.config.history if entry.created_by != "base"]
    lines += [f"{'#' if entry.empty_layer else '+'} {entry.created_by}" for entry in history]
    known = {layer.chain_id for image in bench.images.values() for layer in image.layers}
    below = sum(layer.chain_id in known for layer in built.layers)
    for number, layer in enumerate(built.layers[below:], 1):
        found = _layer(bench, layer.chain_id).items()
        lines += [f"layer {number} {path} {text}".rstrip() for path, text in found]
    lines += [f"warning: {text}" for text in built.warnings]
    return "".join(re.sub(r"\n(?=.)", r"\\n", line).rstrip("\n") + "\n" for line in lines)


def _layer(bench: Bench, chain_id: str) -> dict[str, str]:
    """Return what one layer's folder holds, deletions too."""
    found = {}
    top = bench.store.layout.layer(chain_id)
    for folder, folders, files in os.walk(top):
        for name in sorted(folders + files):
            place = f"{folder}/{name}"
            info = os.lstat(place)
            text = f"{info.st_mode & 0o7777:o} {info.st_uid}:{info.st_gid}"
            if os.path.islink(place):
                text = f"-> {os.readlink(place)}"
            elif os.path.isfile(place):
                data = pathlib.Path(place).read_bytes()
                text += f" {data.decode()!r}" if len(data) < 200 and b"\0" not in data[:99] else " ..."
            elif not os.path.isdir(place):
                text = "deleted"
            found[place.removeprefix(top) + ("/" if os.path.isdir(place) and text[:2] != "->" else "")] = text
    return dict(sorted(found.items()))


@pytest.mark.parametrize(("name", "number"), _all())
def test_case(shared: Bench, name: str, number: int) -> None:
    """The Dockerfile makes what its case says, or is refused with that sentence at that place."""
    case = cases(name)[number]
    if os.environ.get("TIFFIN_WRITE_CASES"):
        read = cases(name)
        read[number].expected = outcome(shared, case)
        (_FOLDER / name).write_text("".join(each.text() for each in read))
        return
    assert outcome(shared, case) == case.expected, case.title
