"""ADD of repositories and contexts from repositories: what is checked out, and what a stranger cannot do."""

from __future__ import annotations

import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.servers import folder_server
from tiffin.build.repositories import Repository, is_url, repository
from tiffin.errors import Corrupt, DockerfileError, InvalidArgument, NotFound, TiffinError, Unavailable

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from tests.build.bench import Bench

_WHO = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "a"), ("EMAIL", "a@b"), ("DATE", "2024-01-02T03:04:05Z"))
}


def git(folder: pathlib.Path | str, *words: str) -> str:
    """Run git in a folder, as somebody without a configuration."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", **_WHO}
    return subprocess.run(
        ["git", "-c", "init.defaultBranch=main", *words],
        cwd=folder,
        env=env,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@pytest.fixture
def served(tmp_path: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    """A repository behind a plain web server: its URL, and where it is worked on."""
    work, public = tmp_path / "work", tmp_path / "public"
    (work / "docs").mkdir(parents=True)
    public.mkdir()
    (work / "file").write_text("main\n")
    (work / "run").write_text("#!/bin/sh\n")
    (work / "run").chmod(0o755)
    (work / "docs" / "page").write_text("first\n")
    (work / "docs" / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (work / "link").symlink_to("file")
    git(work, "init", "-q")
    git(work, "add", ".")
    git(work, "commit", "-qm", "first")
    git(work, "tag", "-a", "v1", "-m", "v1")
    (work / "docs" / "page").write_text("second\n")
    git(work, "commit", "-qam", "second")
    git(work, "branch", "other")
    git(public, "clone", "-q", "--bare", str(work), "repo.git")
    git(public / "repo.git", "update-server-info")
    with folder_server(public) as address:
        yield f"http://{address}/repo.git", work


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.com/c.git", Repository(url="https://example.com/c.git")),
        (
            "https://example.com/c.git#v1:docs",
            Repository(url="https://example.com/c.git", ref="v1", subdir="docs"),
        ),
        ("http://example.com/c.git#:docs", Repository(url="http://example.com/c.git", subdir="docs")),
        ("git://example.com/c", Repository(url="git://example.com/c")),
        ("ssh://git@example.com:22/c#x", Repository(url="ssh://git@example.com:22/c", ref="x")),
        ("git@example.com:c/d.git", Repository(url="git@example.com:c/d.git")),
        ("https://example.com/c.git/d", None),
        ("https://example.com/c", None),
        ("-oProxyCommand=x@a:b", None),
        ("file:///a.git", None),
        ("a.git", None),
        ("a:b", None),
    ],
)
def test_addresses(text: str, expected: Repository | None) -> None:
    """Only an address with a known protocol, or one for SSH, is one of a repository."""
    assert repository(text) == expected
    assert is_url(text) is (text in {"https://example.com/c.git/d", "https://example.com/c"})


def test_add(bench: Bench, served: tuple[str, pathlib.Path]) -> None:
    """A branch, a tag, a commit and a folder are copied with plain modes, without what Git keeps."""
    url, work = served
    first = git(work, "rev-parse", "v1^{}")
    built = bench.build(
        f"FROM scratch\nADD {url} /main/\nADD {url}#v1:docs /docs\nADD --chown=5:6 {url}#other /other\n"
        f"ADD --checksum={first[:7]} --exclude=docs {url}#{first} /first\n"
    )
    tree = bench.tree(built)
    assert {path for path in tree if path.startswith("/main/")} == {
        "/main/",
        "/main/docs/",
        "/main/docs/Dockerfile",
        "/main/docs/page",
        "/main/file",
        "/main/link",
        "/main/run",
    }
    assert tree["/main/file"] == "644 0:0 main\n"
    assert tree["/main/run"] == "755 0:0 #!/bin/sh\n"
    assert tree["/main/docs/"] == "755 0:0"
    assert tree["/main/docs/page"] == "644 0:0 second\n"
    assert tree["/docs/page"] == "644 0:0 first\n"
    assert tree["/other/file"] == "644 5:6 main\n"
    assert [path for path in tree if path.startswith("/first/")] == [
        "/first/",
        "/first/file",
        "/first/link",
        "/first/run",
    ]
    assert built.config.history[0].created_by == f"ADD {url} /main/ # buildkit"


def test_add_again(bench: Bench, served: tuple[str, pathlib.Path]) -> None:
    """The files decide whether the step is cached, not when they were fetched."""
    url, _ = served
    text = f"FROM scratch\nADD {url} /a\n"
    assert bench.build(text).layers == bench.build(text).layers
    assert bench.cached() == [True]


def test_keep_git_dir(bench: Bench, served: tuple[str, pathlib.Path]) -> None:
    """--keep-git-dir leaves a repository that Git can read."""
    url, work = served
    built = bench.build(f"FROM scratch\nADD --keep-git-dir=true {url} /a\n")
    assert bench.read(built, "/a/.git/HEAD") == git(work, "rev-parse", "main") + "\n"


def test_wrong(bench: Bench, served: tuple[str, pathlib.Path]) -> None:
    """What is not there, or is not what was meant, is said with the place in the Dockerfile."""
    url, work = served
    with pytest.raises(DockerfileError, match="repository does not contain ref none"):
        bench.build(f"FROM scratch\nADD {url}#none /\n")
    with pytest.raises(DockerfileError, match='subdir "none" is no folder'):
        bench.build(f"FROM scratch\nADD {url}#:none /\n")
    with pytest.raises(DockerfileError, match="invalid checksum xyz"):
        bench.build(f"FROM scratch\nADD --checksum=xyz {url} /\n")
    found = git(work, "rev-parse", "main")
    with pytest.raises(Corrupt, match=f"expected checksum to match 0000, got {found}"):
        bench.build(f"FROM scratch\nADD --checksum=0000 {url} /\n")
    with pytest.raises(Unavailable, match=r"git ls-remote: .*not found"):
        bench.build(f"FROM scratch\nADD {url.replace('repo', 'none')} /\n")


def test_strangers(bench: Bench, served: tuple[str, pathlib.Path], tmp_path: pathlib.Path) -> None:
    """No word becomes an option, no protocol reaches this machine, and neither hooks nor config run."""
    url, work = served
    mark = tmp_path / "mark"
    for ref in (f"--upload-pack=touch${{IFS}}{mark}", "-x"):
        with pytest.raises((DockerfileError, InvalidArgument), match="invalid git source"):
            bench.build(f"FROM scratch\nADD {url}#{ref} /\n")
    hooks = work / ".githooks"
    hooks.mkdir()
    (hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (hooks / "post-checkout").chmod(0o755)
    (work / ".gitattributes").write_text("* filter=evil\n")
    (work / ".gitconfig").write_text(
        f'[filter "evil"]\n\tsmudge = touch {mark}\n[core]\n\thooksPath = .githooks\n'
    )
    (work / ".gitmodules").write_text(f'[submodule "s"]\n\tpath = s\n\turl = {work}\n\tupdate = none\n')
    git(work, "add", ".")
    git(work, "commit", "-qm", "evil")
    git(work, "push", "-q", str(tmp_path / "public" / "repo.git"), "main")
    git(tmp_path / "public" / "repo.git", "update-server-info")
    built = bench.build(f"FROM scratch\nADD {url} /\n")
    assert bench.read(built, "/.gitattributes") == "* filter=evil\n"
    assert not mark.exists()


def test_submodules_do_not_reach_this_machine(
    bench: Bench, served: tuple[str, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    """A submodule that names a path of the host is refused."""
    url, work = served
    git(
        work,
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        str(tmp_path / "public" / "repo.git"),
        "s",
    )
    git(work, "commit", "-qm", "module")
    git(work, "push", "-q", str(tmp_path / "public" / "repo.git"), "main")
    git(tmp_path / "public" / "repo.git", "update-server-info")
    with pytest.raises(TiffinError, match="transport 'file' not allowed"):
        bench.build(f"FROM scratch\nADD {url} /\n")


def test_contexts(bench: Bench, served: tuple[str, pathlib.Path]) -> None:
    """A context may be a folder of a repository at some ref; its Dockerfile is looked up there only."""
    url, _ = served
    built = bench.build(context=f"{url}#v1:docs")
    assert bench.read(built, "/page") == "first\n"
    built = bench.build(context=f"{url}#:docs")
    assert bench.read(built, "/page") == "second\n"
    kept = bench.build(
        "FROM scratch\nCOPY . /\n", context=url, build_args={"BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1"}
    )
    assert bench.read(kept, "/.git/HEAD")
    with pytest.raises(NotFound, match="open Dockerfile: no such file"):
        bench.build(context=url)
    with pytest.raises(NotFound, match=r"open /etc/passwd: no such file"):
        bench.build(context=url, file="/etc/passwd")
    with pytest.raises(NotFound, match='"none" is no folder of'):
        bench.build(context=f"{url}#:none")


def test_contexts_from_the_web(bench: Bench, tmp_path: pathlib.Path) -> None:
    """A URL gives a tar, compressed or not, with its Dockerfile, or a text that is one, without a context."""
    public = tmp_path / "public"
    public.mkdir()
    for name, text in (
        ("Dockerfile", "FROM scratch\nCOPY a /\n"),
        ("other", "FROM scratch\nCOPY a /b\n"),
        ("a", "A"),
    ):
        bench.write(name, text)
    with tarfile.open(public / "context", "w:gz") as archive:
        archive.add(bench.context, ".")
    (public / "text").write_text("FROM scratch\nCOPY <<E /a\ntext\nE\n")
    (public / "wants").write_text("FROM scratch\nCOPY a /\n")
    with folder_server(public) as address:
        assert bench.read(bench.build(context=f"http://{address}/context"), "/a") == "A"
        assert bench.read(bench.build(context=f"http://{address}/context", file="other"), "/b") == "A"
        assert bench.read(bench.build(context=f"http://{address}/text"), "/a") == "text\n"
        with pytest.raises(DockerfileError, match='"/a": not found'):
            bench.build(context=f"http://{address}/wants")
        with pytest.raises(NotFound, match="404"):
            bench.build(context=f"http://{address}/none")
