"""References: distribution's grammar (written here as its regular expressions) judges our parser."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tiffin.errors import InvalidArgument
from tiffin.spec.reference import HUB, Reference, familiar

DIGEST = "sha256:" + "0123456789abcdef" * 4

# distribution/reference: regexp.go, put together by hand; `$` there is `\Z` here.
_DOMAIN_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_DOMAIN_COMPONENT}(?:\.{_DOMAIN_COMPONENT})*|\[[a-fA-F0-9:]+\])"
_DOMAIN = rf"{_HOST}(?::[0-9]+)?"
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_NAME = rf"(?:({_DOMAIN})/)?({_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*)"
_GRAMMAR = re.compile(rf"{_NAME}(?::([0-9A-Za-z_][0-9A-Za-z_.-]{{0,127}}))?(?:@(sha256:[a-f0-9]{{64}}))?\Z")


def judge(text: str) -> tuple[str, str, str, str] | None:
    """Do what docker's ParseNormalizedNamed does, with the regular expressions."""
    if re.fullmatch("[a-f0-9]{64}", text):
        return None
    first, slash, rest = text.partition("/")
    host_like = re.search("[.:]", first) or first == "localhost" or first.lower() != first
    if not slash or not host_like:
        domain, rest = HUB, text
    else:
        domain = first
    domain = HUB if domain == "index.docker.io" else domain
    if domain == HUB and "/" not in rest:
        rest = f"library/{rest}"
    match = _GRAMMAR.match(f"{domain}/{rest}")
    # Without a domain in the match the host was none ("a_b.c/d"): docker's answer is a name without a host.
    if not match or not match[1] or len(f"{match[1]}/{match[2]}") > 255:
        return None
    return (match[1], match[2], match[3] or "", match[4] or "")


def parse(text: str) -> tuple[str, str, str, str] | None:
    try:
        found = Reference.parse(text)
    except InvalidArgument:
        return None
    return (found.domain, found.path, found.tag, found.digest)


# Text that is nearly a reference: the grammar's own characters and words, in any order.
_pieces = st.sampled_from(
    ["a", "b1", "Ab", "0", "_", "__", "___", "-", "--", ".", "..", "/", ":", "@", "5000", "localhost",
     "library", "docker.io", "index.docker.io", "[::1]", "[", "]", DIGEST, "é", " ", "\n", "f" * 64,
     "x" * 130]
)  # fmt: skip
near_references = st.lists(_pieces, max_size=9).map("".join)
references = st.from_regex(_GRAMMAR).map(lambda text: text.rstrip("\n"))


@given(near_references | references | st.text(max_size=40))
@example("[::]/x")
@example("[abc]:1/x")
@example("a:b\n")
@example("localhost:5000")
@example("a_b.c/d")
@example(f"a@{DIGEST}@{DIGEST}")
@example("a" * 255)
def test_the_grammar_is_distributions(text: str) -> None:
    """A text is a reference, with these parts, exactly when distribution's regular expressions say so."""
    assert parse(text) == judge(text)


@given(references)
def test_canonical_text_is_a_fixed_point(text: str) -> None:
    """The canonical form parses to the same reference, and so does the form that docker shows."""
    if parse(text) is None:
        return
    found = Reference.parse(text)
    assert Reference.parse(str(found)) == found
    assert familiar(str(found)) == found.familiar
    first = found.familiar_name.partition("/")[0]
    ambiguous = found.domain == HUB and (
        re.search("[.:]", first) or first == "localhost" or re.fullmatch("[a-f0-9]{64}", found.familiar)
    )
    if not ambiguous:
        assert Reference.parse(found.familiar) == found


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("user/app:1", "docker.io/user/app:1", "user/app:1"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/user/app", "docker.io/user/app", "user/app"),
        ("localhost:5000/shop:2", "localhost:5000/shop:2", "localhost:5000/shop:2"),
        ("LOCAL/shop", "LOCAL/shop", "LOCAL/shop"),
        ("[::1]:5000/shop", "[::1]:5000/shop", "[::1]:5000/shop"),
        (f"a:1@{DIGEST}", f"docker.io/library/a:1@{DIGEST}", f"a:1@{DIGEST}"),
    ],
)
def test_names_are_normalised_as_docker_does(text: str, canonical: str, familiar: str) -> None:
    """Docker Hub and `library/` are added to the canonical form and hidden in the familiar one."""
    found = Reference.parse(text)
    assert (str(found), found.familiar) == (canonical, familiar)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase"),
        ("f" * 64, f"invalid repository name ({'f' * 64}), cannot specify 64-byte hexadecimal strings"),
        ("a b", "invalid reference format"),
    ],
)
def test_refusals_are_dockers_sentences(text: str, message: str) -> None:
    """Who knows docker's refusals recognises them."""
    with pytest.raises(InvalidArgument) as caught:
        Reference.parse(text)
    assert caught.value.message == message


def test_latest_is_the_default_tag_only_without_a_digest() -> None:
    """`latest` is added where neither tag nor digest is given."""
    assert Reference.parse("a").tagged().tag == "latest"
    assert Reference.parse("a:1").tagged().tag == "1"
    assert Reference.parse(f"a@{DIGEST}").tagged().tag == ""
