"""Whole builds over a real store: configs, stages, arguments, failures, the cache and its explanations."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.build.bench import BASE
from tiffin.build.events import PlanMade, StepDone, StepStarted, Warned
from tiffin.build.roles import Options
from tiffin.errors import BuildFailed, DockerfileError, InvalidArgument, NotFound
from tiffin.spec.container import ContainerConfig
from tiffin.spec.platform import Platform

if TYPE_CHECKING:
    from tests.build.bench import Bench


@pytest.fixture
def based(bench: Bench) -> Bench:
    """A bench with a base image."""
    bench.add_base()
    return bench


def test_config(based: Bench) -> None:
    """Every instruction leaves in the config what docker leaves, and its line in the history."""
    built = based.build(
        "FROM base\n"
        "MAINTAINER me\n"
        "ENV A=1 B='two words'\nENV C=$A A=2 D=${A}\n"
        'LABEL "a.b"=c d="e $A"\n'
        "USER app\nEXPOSE 80 53/udp 7000-7001/tcp\nVOLUME /data\n"
        'SHELL ["/bin/sh", "-ec"]\nCMD echo hi\nENTRYPOINT ["/x", "y"]\nSTOPSIGNAL SIG$D\n'
        "HEALTHCHECK --interval=30s --timeout=1m30s --retries=3 CMD check it\n"
        "ONBUILD RUN echo later\n",
        labels={"given": "yes"},
    )
    config = built.config.config
    assert config.env == ("PATH=/usr/bin:/bin", "A=2", "B=two words", "C=1", "D=1")
    assert config.labels == {"a.b": "c", "d": "e 2", "given": "yes"}
    assert config.user == "app"
    assert config.exposed_ports == ("53/udp", "7000/tcp", "7001/tcp", "80/tcp")
    assert config.volumes == ("/data",)
    assert config.cmd == ("/bin/sh", "-ec", "echo hi")
    assert config.entrypoint == ("/x", "y")
    assert config.stop_signal == "SIG1"
    assert config.on_build == ("RUN echo later",)
    assert built.config.author == "me"
    assert [entry.created_by for entry in built.config.history[1:]] == [
        "MAINTAINER me",
        "ENV A=1 B=two words",
        "ENV C=1 A=2 D=1",
        "LABEL a.b=c d=e 2",
        "USER app",
        "EXPOSE [80/tcp 53/udp 7000/tcp 7001/tcp]",
        "VOLUME [/data]",
        "SHELL [/bin/sh -ec]",
        'CMD ["/bin/sh" "-ec" "echo hi"]',
        'ENTRYPOINT ["/x" "y"]',
        "STOPSIGNAL SIG1",
        """HEALTHCHECK &{["CMD-SHELL" "check it"] "30s" "1m30s" "0s" "0s" '\\x03'}""",
    ]
    assert all(entry.empty_layer for entry in built.config.history[1:])
    assert len(built.layers) == 1
    assert based.exported[-1] == (built.config, built.layers)


def test_entrypoint_clears_only_an_inherited_command(based: Bench) -> None:
    """ENTRYPOINT clears the base's CMD, not one that the stage itself set before."""
    assert based.build("FROM base\nENTRYPOINT x\n").config.config.cmd is None
    assert based.build('FROM base\nCMD ["a"]\nENTRYPOINT x\n').config.config.cmd == ("a",)
    assert based.build("FROM base\n").config.config.cmd == ("sh",)


def test_run(based: Bench) -> None:
    """RUN gets shell, environment, arguments, user and folder; what it writes is the layer."""
    built = based.build(
        "FROM base\nARG X=x Y\nARG Z=$X-z\nENV E=e X=env\nUSER app\nWORKDIR /home/app\nUSER 0\n"
        "RUN echo $X.$Y.$Z.$E.$(pwd) > /out && rm /etc/group\n"
        'RUN ["/bin/sh", "-c", "id -u; env"]\n',
        build_args={"Y": "given", "HTTP_PROXY": "p"},
    )
    assert based.read(built, "/out") == "env.given.x-z.e./home/app\n"
    assert based.read(built, "/etc/group") is None
    assert "HTTP_PROXY=p" in based.output()
    texts = [entry.created_by for entry in built.config.history]
    assert texts[-1] == "RUN |3 X=x Y=given Z=x-z /bin/sh -c id -u; env # buildkit"
    assert not any("HTTP_PROXY" in text for text in texts)


def test_run_heredocs(based: Bench) -> None:
    """A here-document is the script of the shell, or a program of its own with `#!`."""
    built = based.build(
        "FROM base\nRUN <<E\necho one > /one\necho two > /two\nE\n"
        "RUN <<P\n#!/bin/cat\ntext\nP\nRUN cat <<A - > /a\nfrom a\nA\n"
    )
    assert based.read(built, "/two") == "two\n"
    assert based.read(built, "/a") == "from a\n"
    assert "#!/bin/cat\ntext\n" in based.output()


def test_failing_run(based: Bench) -> None:
    """A RUN that fails says where, how and with which last words, and leaves no layer."""
    with pytest.raises(BuildFailed) as caught:
        based.build("FROM base\n\nRUN echo last words \\\n  >&2; exit 3\n")
    error = caught.value
    assert error.message == (
        'process "/bin/sh -c echo last words   >&2; exit 3" did not complete successfully: exit code: 3'
    )
    assert error.exit_code == 3
    assert (error.step.line, error.step.end_line, error.step.exit_code) == (3, 4, 3)
    assert error.step.output == b"last words\n"
    assert error.step.source == ("RUN echo last words \\", "  >&2; exit 3")
    with pytest.raises(BuildFailed, match="executable file not found") as caught:
        based.build('FROM base\nRUN ["/none"]\n')
    assert caught.value.exit_code == 127


def test_network(based: Bench) -> None:
    """RUN --network wins over the build's."""
    based.build("FROM base\nRUN true\nRUN --network=none true\n", network="host")
    assert [request.network for request in based.requests] == ["host", "none"]


def test_scratch(based: Bench) -> None:
    """FROM scratch has no layers, docker's PATH, and / to work in."""
    based.write("a", "A")
    built = based.build('FROM scratch\nCOPY a /\nCMD ["/a"]\n')
    assert len(built.layers) == 1
    assert built.config.config.working_dir == "/"
    assert built.config.config.env[0].startswith("PATH=/usr/local/sbin")
    assert built.config.diff_ids == (built.layers[0].diff_id,)
    empty = based.build("FROM scratch\nLABEL a=b\n")
    assert empty.layers == ()


def test_stages(based: Bench) -> None:
    """Only what the target needs is built; a stage may start from another, and copy from a later one."""
    dockerfile = (
        "FROM base AS first\nARG A=1\nENV E=$A\nRUN echo 1 > /1\n"
        "FROM first AS second\nRUN echo $A-$E > /2\n"
        "FROM base AS unused\nRUN exit 9\n"
        "FROM scratch AS last\nCOPY --from=second /2 /\nCOPY --from=later /etc/passwd /\n"
        "FROM base AS later\nRUN echo later\n"
    )
    built = based.build(dockerfile, target="last")
    assert based.read(built, "/2") == "1-1\n"
    assert len(built.layers) == 2
    plan = next(e for e in based.events if isinstance(e, PlanMade))
    assert (plan.stages, plan.total) == (4, 4 + 2 + 3 + 2)
    numbers = [e.number for e in based.events if isinstance(e, StepStarted)]
    assert sorted(numbers) == list(range(1, plan.total + 1))
    assert based.build(dockerfile, target="SECOND").layers[:2] == based.build(dockerfile, target="0").layers
    with pytest.raises(InvalidArgument, match='target stage "none" could not be found'):
        based.build(dockerfile, target="none")


def test_stage_mistakes(based: Bench) -> None:
    """A stage that needs itself, a blank base and an unknown image are refused with docker's words."""
    with pytest.raises(DockerfileError, match="circular dependency detected on stage: a"):
        based.build("FROM base AS a\nCOPY --from=b /x /\nFROM base AS b\nCOPY --from=a /x /\n")
    with pytest.raises(DockerfileError, match=r"base name \(\$\{X\}\) should not be blank") as caught:
        based.build("FROM ${X}\n")
    assert "ARG X" in caught.value.hint
    with pytest.raises(DockerfileError, match="invalid reference format"):
        based.build("FROM a@b\n")
    with pytest.raises(NotFound, match=r"No such image: docker\.io/library/none"):
        based.build("FROM none\n")
    with pytest.raises(DockerfileError, match="no build stage in current context"):
        based.build("RUN x\nFROM base\n")
    with pytest.raises(DockerfileError, match="contains no stages to build"):
        based.build("ARG X=1\n")


def test_global_arguments(based: Bench) -> None:
    """Arguments before FROM are for FROM; a stage gets them by naming them; --build-arg wins."""
    dockerfile = (
        "ARG NAME=ba\nARG IMAGE=${NAME}se\nFROM --platform=$BUILDPLATFORM ${IMAGE}:${TAG:-latest}\n"
        "RUN echo [$NAME]\nARG NAME TARGETARCH\nRUN echo [$NAME $TARGETARCH]\n"
    )
    based.build(dockerfile)
    assert based.output() == f"[]\n[ba {Platform.here().architecture}]\n"
    based.build(dockerfile, build_args={"IMAGE": "base", "NAME": "x"})
    assert f"[x {Platform.here().architecture}]" in based.output()


def test_unused_build_argument(based: Bench) -> None:
    """A --build-arg that nothing asks for is a warning, not an error; proxies are always welcome."""
    built = based.build(
        "FROM base\nARG USED\n", build_args={"b": "1", "a": "1", "USED": "1", "http_proxy": "1"}
    )
    assert built.warnings == ("[Warning] One or more build-args [a b] were not consumed",)
    assert any(isinstance(event, Warned) for event in based.events)


def test_onbuild(based: Bench) -> None:
    """Triggers run right after FROM in the child, once, and are gone from the grandchild."""
    based.write("app.txt", "app")
    parent = based.build("FROM base\nONBUILD COPY app.txt /app/\nONBUILD RUN <<E\necho ran > /ran\nE\n")
    based.keep(parent, "docker.io/library/parent:latest")
    assert based.read(parent, "/ran") is None
    child = based.build("FROM parent\nRUN cat /app/app.txt /ran\n")
    assert based.output() == "appran\n"
    assert child.config.config.on_build == ()
    assert [e.trigger for e in based.events if isinstance(e, StepStarted)] == [False, True, True, False]
    os.unlink(f"{based.context}/app.txt")
    with pytest.raises(DockerfileError) as caught:
        based.build("FROM parent\n")
    assert caught.value.file == "ONBUILD of parent"


def test_expansion_errors_have_a_place(based: Bench) -> None:
    """A variable that must be set and is not, is an error at its word."""
    with pytest.raises(DockerfileError) as caught:
        based.build('FROM base\nENV A=1 \\\n  B="${NEED:?say what}"\n')
    assert (caught.value.line, caught.value.column) == (3, 5)
    assert "NEED: say what" in caught.value.message


# The cache


_SHOP = (
    "FROM base\nWORKDIR /app\nCOPY req.txt .\nRUN cat req.txt\nCOPY src src\nENV A=1\nRUN echo $A\nCMD x\n"
)


@pytest.fixture
def shop(based: Bench) -> Bench:
    """A small project, built once."""
    based.write("req.txt", "r")
    based.write("src/cart.py", "c")
    based.write("src/list.py", "l")
    based.write("Dockerfile", _SHOP)
    based.build()
    return based


def test_a_second_build_is_cached_whole(shop: Bench) -> None:
    """The same build again runs nothing, makes no layer, and gives the same image id."""
    first = shop.exported[-1][0].id
    runs = len(shop.requests)
    layers = set(os.listdir(shop.store.layout.layers))
    assert shop.build().image_id == first
    assert shop.cached() == [True] * 5
    assert len(shop.requests) == runs
    assert set(os.listdir(shop.store.layout.layers)) == layers


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ("content", ["changed: src/cart.py", "parent step changed"]),
        ("mode", ["changed: src/cart.py", "parent step changed"]),
        ("added", ["added: src/new.py", "parent step changed"]),
        ("removed", ["removed: src/list.py", "parent step changed"]),
        ("env", ["ENV A changed"]),
        ("instruction", ["new instruction", "parent step changed"]),
        ("base", ["parent step changed"] * 5),
        ("mtime", []),
        ("label", []),
    ],
)
def test_a_miss_is_explained(shop: Bench, change: str, reasons: list[str]) -> None:
    """A step that runs again says which file, variable or step made it; times and labels make none."""
    path = f"{shop.context}/src/cart.py"
    if change == "content":
        shop.write("src/cart.py", "C")
    elif change == "mode":
        os.chmod(path, 0o755)  # noqa: S103 - the change
    elif change == "added":
        shop.write("src/new.py", "n")
    elif change == "removed":
        os.unlink(f"{shop.context}/src/list.py")
    elif change == "env":
        shop.write("Dockerfile", _SHOP.replace("A=1", "A=2"))
    elif change == "instruction":
        shop.write("Dockerfile", _SHOP.replace("src src", "src source"))
    elif change == "base":
        shop.add_base(extra="echo new > /dev/null; echo x > new")
    elif change == "mtime":
        os.utime(path, ns=(1, 1))
    elif change == "label":
        shop.write("Dockerfile", _SHOP.replace("ENV A=1", "LABEL x=y\nENV A=1"))
    shop.build()
    assert shop.reasons() == reasons


def test_arguments_and_the_cache(based: Bench) -> None:
    """An ARG's value is in the key of each RUN after it, of a COPY only if named there; a proxy in none."""
    based.write("a", "A")
    dockerfile = "FROM base\nRUN true\nARG V=1\nCOPY a /\nRUN true\nARG W\nENV V=fixed\nRUN echo\n"
    based.build(dockerfile)
    based.build(dockerfile, build_args={"V": "2"})
    # The second RUN changes nothing either time, so what stands on it is the same again.
    assert based.cached() == [True, True, False, True]
    assert based.reasons() == ["ARG V changed"]
    based.build("FROM base\nRUN true\n", build_args={"HTTP_PROXY": "one"})
    based.build("FROM base\nRUN true\n", build_args={"HTTP_PROXY": "two"})
    assert based.cached() == [True]


def test_no_cache(shop: Bench) -> None:
    """--no-cache runs every step, and what it made is found afterwards."""
    runs = len(shop.requests)
    shop.build(no_cache=True)
    assert shop.cached() == [False] * 5
    assert len(shop.requests) == runs + 2
    shop.build()
    assert shop.cached() == [True] * 5


def test_a_lost_layer_is_made_again(shop: Bench) -> None:
    """A remembered step whose layer is gone runs again."""
    layer = shop.exported[-1][1][-1]
    shop.store.database.execute("DELETE FROM layers WHERE chain_id=?", (layer.chain_id,))
    shop.build()
    assert shop.cached() == [True, True, True, True, False]
    assert shop.reasons() == ["its layer is no longer there"]


def test_copy_from_a_stage_is_keyed_by_what_is_copied(based: Bench) -> None:
    """A stage that is rebuilt with the same file leaves the COPY --from cached."""
    dockerfile = "FROM base AS a\nRUN echo {} > /o; echo same > /file\nFROM base\nCOPY --from=a /file /\n"
    based.build(dockerfile.format(1))
    based.build(dockerfile.format(2))
    assert based.cached() == [False, True]


def test_metadata_gives_a_new_moment(based: Bench) -> None:
    """A changed label makes another image; the old Dockerfile finds the old one again, to the byte."""
    one = based.build("FROM base\nLABEL a=1\n")
    two = based.build("FROM base\nLABEL a=2\n")
    assert one.image_id != two.image_id
    assert based.build("FROM base\nLABEL a=1\n").config.raw == one.config.raw


def test_source_date_epoch(bench: Bench) -> None:
    """With SOURCE_DATE_EPOCH two stores make the same image."""
    bench.add_base()
    bench.write("a", "A")
    os.utime(f"{bench.context}/a", (5, 5))
    options = Options(build_args={"SOURCE_DATE_EPOCH": "1000000000"}, no_cache=True)
    dockerfile = "FROM scratch\nWORKDIR /x\nCOPY a b/\nLABEL x=y\n"
    first, second = bench.build(dockerfile, options=options), bench.build(dockerfile, options=options)
    assert first.image_id == second.image_id
    assert first.config.created == "2001-09-09T01:46:40Z"
    assert {entry.created for entry in first.config.history} == {"2001-09-09T01:46:40Z"}
    assert first.warnings == ()


def test_unchanged_files_are_not_read_again(shop: Bench) -> None:
    """A file whose stat is the same keeps its digest: it is not opened (here: no longer readable)."""
    from tiffin.build.context import FolderTree
    from tiffin.build.digests import Digests

    os.utime(f"{shop.context}/src/cart.py", ns=(1, 1))
    memo = shop.store.buildcache
    tree = FolderTree(shop.context)
    entry = next(e for e in tree.scan("src") if e.name == "cart.py")
    # Long ago, as far as the clock is concerned
    first = Digests(memo, "x")
    first._known[entry.info.st_dev] = {
        entry.info.st_ino: (entry.info.st_size, entry.info.st_mtime_ns, entry.info.st_ctime_ns, b"d" * 32)
    }
    first._changed.add(entry.info.st_dev)
    first.save()
    again = Digests(memo, "x")
    assert again.of(entry) == b"d" * 32
    assert again.hashed == 0
    os.chmod(f"{shop.context}/src/cart.py", 0o600)
    changed = next(e for e in tree.scan("src") if e.name == "cart.py")
    assert again.of(changed) != b"d" * 32


# Contexts


def _tar(files: dict[str, str], mode: str = "w") -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            if text.startswith("-> "):
                info.type, info.linkname, info.size = tarfile.SYMTYPE, text[3:], 0
            archive.addfile(info, io.BytesIO(text.encode()))
    out.seek(0)
    return out


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_a_context(based: Bench, mode: str) -> None:
    """A tar, compressed or not, from a stream or a file, is a context; equal ones hit the cache."""
    files = {
        "Dockerfile": "FROM base\nCOPY . /ctx/\n",
        "a/b": "B",
        ".dockerignore": "*ignore\nskip",
        "skip": "no",
    }
    built = based.build(context=_tar(files, mode))
    assert sorted(p for p in based.tree(built, "/ctx") if not p.endswith("/")) == [
        "/ctx/Dockerfile",
        "/ctx/a/b",
    ]
    place = f"{based.folder}/context.tar"
    with open(place, "wb") as stream:
        stream.write(_tar(files, mode).read())
    based.build(context=place)
    assert based.cached() == [True]


def test_a_bare_dockerfile_is_a_context(based: Bench) -> None:
    """A stream that is no tar is the Dockerfile; there is nothing to copy from."""
    based.build(context=io.BytesIO(b"FROM base\nRUN echo hi\n"))
    assert based.output() == "hi\n"
    with pytest.raises(DockerfileError, match="not found"):
        based.build(context=io.BytesIO(b"FROM base\nCOPY a /\n"))
    with pytest.raises(InvalidArgument, match="the stream is empty"):
        based.build(context=io.BytesIO(b""))


def test_a_hostile_tar(based: Bench) -> None:
    """A context's Dockerfile that is a symlink to a file of the host is not read."""
    with pytest.raises(NotFound):
        based.build(context=_tar({"Dockerfile": "-> /etc/passwd"}))
    with pytest.raises(DockerfileError, match="not found"):
        based.build(
            context=_tar({"Dockerfile": "FROM base\nCOPY x /\n", "x": "-> ../../../../../etc/passwd"})
        )


def test_dockerfile_names(based: Bench) -> None:
    """-f names it by path, a text stands in for it, and its own .dockerignore wins."""
    based.write("docker/Other", "FROM base\nCOPY . /c/\n")
    based.write("docker/Other.dockerignore", "b\ndocker")
    based.write(".dockerignore", "a")
    based.write("a")
    based.write("b")
    built = based.build(file=f"{based.context}/docker/Other")
    assert [p for p in based.tree(built, "/c") if p.startswith("/c/") and p != "/c/"] == [
        "/c/.dockerignore",
        "/c/a",
    ]
    built = based.build(file="docker/Other")
    assert "/c/a" in based.tree(built, "/c")
    built = based.build("FROM base\nCOPY . /c/\n")
    assert "/c/a" not in based.tree(built, "/c")
    with pytest.raises(NotFound, match="open Dockerfile: no such file or directory"):
        based.build()
    with pytest.raises(NotFound, match=r'path ".*none" not found'):
        based.build(context=f"{based.folder}/none")


def test_pull_and_base_names(based: Bench) -> None:
    """Each image is resolved once, in canonical form, and --pull is passed on."""
    based.images["docker.io/library/base:1"] = based.images[BASE]
    based.build("FROM base:1 AS a\nFROM base:1\nCOPY --from=a /etc/passwd /\n", pull=True)
    assert based.resolved == ["docker.io/library/base:1!"]


def test_base_config_is_kept(bench: Bench) -> None:
    """What the base says and the Dockerfile does not touch stays: env order, labels, user, history."""
    bench.add_base(config=ContainerConfig(env=("Z=1", "PATH=/usr/bin"), user="7", labels={"a": "b"}))
    built = bench.build("FROM base\nENV Y=2 Z=3\n")
    assert built.config.config.env == ("Z=3", "PATH=/usr/bin", "Y=2")
    assert built.config.config.user == "7"
    assert built.config.history[0].created_by == "base"


def test_events_balance(shop: Bench) -> None:
    """Each step that starts is done, in order, and the numbers are those of the plan."""
    shop.build(no_cache=True)
    started = [e.number for e in shop.events if isinstance(e, StepStarted)]
    done = [e.number for e in shop.events if isinstance(e, StepDone)]
    assert started == done == list(range(1, 9))
