"""Exclusion patterns and wildcards, case by case as moby's own tests have them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.build import ownership, ports
from tiffin.build.context import FolderTree
from tiffin.build.patterns import Patterns, component, unescaped
from tiffin.errors import InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("lines", "path", "excluded"),
    [
        (["a"], "a", True),
        (["a"], "a/b", True),
        (["a"], "b/a", False),
        (["/a"], "a/b", True),
        (["./a/"], "a", True),
        (["a/../b"], "b", True),
        (["*"], "a/b/c", True),
        (["*.md"], "x.md", True),
        (["*.md"], "d/x.md", False),
        (["*/*.md"], "d/x.md", True),
        (["**/*.md"], "x.md", True),
        (["**/*.md"], "a/b/x.md", True),
        (["**/node_modules"], "a/node_modules/x/y", True),
        (["a/**"], "a/b/c", True),
        (["a/**"], "a", False),
        (["a/**/z"], "a/z", True),
        (["a/**/z"], "a/b/c/z", True),
        (["a/**/z"], "a/zz", False),
        (["**"], "anything/at/all", True),
        (["**/a*"], "x/abc", True),
        (["?.txt"], "a.txt", True),
        (["?.txt"], "ab.txt", False),
        (["[a-c].txt"], "b.txt", True),
        (["[^a-c].txt"], "b.txt", False),
        (["[^a-c].txt"], "d.txt", True),
        ([r"\*.txt"], "*.txt", True),
        ([r"\*.txt"], "a.txt", False),
        (["a.b"], "axb", False),
        (["a+(b)$"], "a+(b)$", True),
        (["*", "!keep"], "keep", False),
        (["*", "!keep"], "other", True),
        (["*", "!keep/this"], "keep/this/x", False),
        (["*", "!keep/this"], "keep/that", True),
        (["!keep", "*"], "keep", True),
        (["docs", "!docs/README.md"], "docs/README.md", False),
        (["docs", "!docs/*.md", "docs/secret.md"], "docs/secret.md", True),
        (["#a"], "#a", False),
        (["", "  ", "a  "], "a", True),
        (["! b", "."], "b", False),
        (["dir/*", "!dir/sub", "dir/sub/x"], "dir/sub/x", True),
        (["**foo"], "afoo", True),
        (["**foo"], "a/bfoo", True),
        (["**foo"], "foo/b", True),
        (["**foo*"], "afoob", False),
        (["**/foo"], "afoo", False),
        (["**/foo"], "a/foo/b", True),
        (["a**"], "abc/d", True),
        (["a**b"], "axb", False),
        (["a**b"], "ab", True),
        (["a**b"], "ax/b", True),
        (["a/**/"], "a/b", True),
        (["a/**/"], "a", False),
        (["***"], "a/b", True),
        (["a*/**"], "ab/c", True),
        (["a*/**"], "ab", False),
        (["**/**/x"], "a/x", True),
        (["/"], "a", False),
        (["."], "a", False),
        (["//a"], "a", True),
        (["/a/"], "a/b", True),
        (["../a"], "a", False),
        (["a/../../b"], "b", False),
        (["./"], "a", False),
        (["a/./b"], "a/b", True),
        (["x[^a]y"], "x/y", True),
        (["x[^a]y"], "xay", False),
        (["[a-c]/d"], "b/d", True),
        ([r"a\b"], r"a\b", False),
        ([r"a\b"], "ab", True),
        ([r"a\\b"], r"a\b", True),
        ([r"\!a"], "!a", True),
        ([r"\#a"], "#a", True),
        ([" #a"], "#a", True),
        (["!a", "a"], "a", True),
        (["a", "!a"], "a", False),
        (["a", "!a/b"], "a/b/c", False),
        (["a", "!a/b", "a/b/c"], "a/b/c", True),
        (["a", "!a/b", "a"], "a/b", False),
        (["a", "!**/b"], "a/x/b", False),
        (["**", "!**/*.go"], "a/b.go", False),
        (["**", "!**/*.go"], "a/b.c", True),
        (["a\r"], "a", True),
        (["a b"], "a b", True),
        (["a\x0bb"], "a\x0bb", True),
        (["Ä*"], "Äb", True),
        (["{a,b}"], "a", False),
        (["{a,b}"], "{a,b}", True),
        (["a|b"], "a", False),
        (["^a"], "^a", True),
        (["\ufeffa"], "a", True),
        (["b", "\ufeffa"], "a", False),
    ],
)
def test_exclusions(lines: list[str], path: str, excluded: bool) -> None:  # noqa: FBT001
    """The last pattern that matches a path, or a folder above it, decides."""
    patterns = Patterns.parse("\n".join(lines).encode())
    assert patterns.matches(path)[0] is excluded
    assert bool(patterns.deciding(path)) is excluded


@pytest.mark.parametrize("line", ["!", "[", "a[", "[]", "[a", "[b-a]", "a\\", "[z-"])
def test_bad_patterns(line: str) -> None:
    """A pattern that cannot be read is refused."""
    with pytest.raises(InvalidArgument, match=r"syntax error in pattern|illegal exclusion"):
        Patterns([line])


@pytest.mark.parametrize(
    ("pattern", "name", "matched"),
    [
        ("*", "a.b", True),
        ("a*c", "abbc", True),
        ("arr[[]0].txt", "arr[0].txt", True),
        ("[]a]x", "]x", True),
        (r"[\]a]x", "]x", True),
        ("ä?", "äö", True),
        ("a**b", "axxb", True),
        ("x[0-9a]", "xa", True),
    ],
)
def test_components(pattern: str, name: str, matched: bool) -> None:  # noqa: FBT001
    """One component is matched as Go's filepath.Match does."""
    assert (component(pattern).fullmatch(name) is not None) is matched


@given(st.text(alphabet="ab*?[]^-\\!/.", max_size=12), st.text(alphabet="ab/.", min_size=1, max_size=12))
def test_any_pattern(pattern: str, path: str) -> None:
    """Every pattern is understood or refused, and explains itself when it excludes."""
    try:
        patterns = Patterns([pattern, "!ab"])
    except InvalidArgument:
        return
    assert bool(patterns.deciding(path)) is patterns.matches(path)[0]


@given(st.lists(st.sampled_from(["a", "b", "a/b", "*/b", "**/a", "!a", "!b/a", "!*/b", "b/**"]), max_size=4))
def test_a_scan_agrees_with_single_questions(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    """Walking a folder leaves out exactly the files that are excluded one by one."""
    root = tmp_path_factory.getbasetemp() / "scan"
    paths = ["a/a", "a/b", "b/a", "b/b/a", "b/b/b", "c"]
    if not root.exists():
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(path)
    patterns = Patterns(lines)
    found = {e.name for e in FolderTree(str(root), patterns).scan("") if (root / e.name).is_file()}
    assert found == {path for path in paths if not patterns.matches(path)[0]}


def test_unescaped() -> None:
    """A source without wildcards may still escape characters."""
    assert unescaped(r"a\ b\\c") == r"a b\c"


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """A file whose name is not UTF-8 can be scanned, and its fact be written as JSON."""
    import os

    from tiffin.build.cache import Listing
    from tiffin.build.digests import Digests

    with open(os.fsencode(str(tmp_path)) + b"/\xff\xfe", "wb") as stream:
        stream.write(b"x")
    listing = Listing()
    listing.add("", FolderTree(str(tmp_path)).scan(""), Digests(None, ""))
    assert re.fullmatch("[0-9a-f]{64}", listing.digest())


@pytest.mark.parametrize(
    ("text", "st_mode", "bits"),
    [
        ("755", 0o100644, 0o755),
        ("0644", 0o100755, 0o644),
        ("4755", 0o100644, 0o4755),
        ("+x", 0o100644, 0o755),
        ("u+x,g-r", 0o100644, 0o704),
        ("u=rwX,go=rX", 0o100744, 0o755),
        ("u=rwX,go=rX", 0o100600, 0o644),
        ("u=rwX,go=rX", 0o040700, 0o755),
        ("g=u", 0o100640, 0o660),
        ("a=r", 0o100777, 0o444),
        ("u+s,+t", 0o100755, 0o5755),
        ("o=", 0o100777, 0o770),
        ("ug+rw-x", 0o100111, 0o661),
    ],
)
def test_chmod(text: str, st_mode: int, bits: int) -> None:
    """Octal and symbolic modes mean what they mean to chmod(1) under umask 0."""
    assert oct(ownership.mode(text)(st_mode)) == oct(bits)


@pytest.mark.parametrize("text", ["", "8", "u", "u+q", "z+x", "77777", "u+x,"])
def test_bad_chmod(text: str) -> None:
    """What is no mode is refused."""
    with pytest.raises(InvalidArgument):
        ownership.mode(text)


def test_owners() -> None:
    """Names come from the files given, a number stands for itself and its group."""
    files = {"/etc/passwd": b"bad\napp:x:7:8::/:\n", "/etc/group": b"staff:x:9:\n"}
    assert ownership.owner("app", files.get) == (7, 8)
    assert ownership.owner("app:staff", files.get) == (7, 9)
    assert ownership.owner("5", files.get) == (5, 5)
    assert ownership.owner("5:6", files.get) == (5, 6)
    assert ownership.owner(":staff", files.get) == (0, 9)
    assert ownership.owner("app:", files.get) == (7, 8)
    with pytest.raises(InvalidArgument):
        ownership.owner("99999999999", files.get)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", ["80/tcp"]),
        ("1-3/UDP", ["1/udp", "2/udp", "3/udp"]),
        ("8080:80", ["80/tcp"]),
        ("80/", ["80/tcp"]),
    ],
)
def test_ports(text: str, expected: list[str]) -> None:
    """Ports, ranges and protocols are docker's."""
    assert ports.exposed(text) == expected


@pytest.mark.parametrize("text", ["", "x", "70000", "3-1", "80/icmp", "-1", "1-", "80/tcp/udp", "٣"])
def test_bad_ports(text: str) -> None:
    """What is no port is refused."""
    with pytest.raises(InvalidArgument):
        ports.exposed(text)
