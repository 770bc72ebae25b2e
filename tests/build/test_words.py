"""Expansion of words: docker's own table of cases, and that no word breaks the lexer."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.build.words import Lexer, WordError

_ENV = {
    "A": "1",
    "E": "",
    "STR": "foobarbaz",
    "PATHS": "/usr/local/bin",
    "SPACED": "two words",
    "V": "v1.2.3",
    "STAR": "a*b*c",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A ${A}b $Ab", "1 1b "),
        (r"\$A \${A}", "$A ${A}"),
        ("'$A' \"$A\"", "$A 1"),
        ('"a\\"b\\c\\$A"', 'a"b\\c$A'),
        ("${X:-word} ${E:-word} ${A:-word}", "word word 1"),
        ("${X-word}|${E-word}|${A-word}", "word||1"),
        ("${X:+word}|${E:+word}|${A:+word}", "||word"),
        ("${X+word}|${E+word}|${A+word}", "|word|word"),
        ("${X:-${A}} ${X:-${Y:-deep}} ${X:-'}'}", "1 deep }"),
        ("${A:?message}${E?}", "1"),
        ("${STR#f*b} ${STR##f*b}", "arbaz az"),
        ("${STR%b*} ${STR%%b*}", "foobar foo"),
        ("${STR/ba/fo} ${STR//ba/fo}", "fooforbaz fooforfoz"),
        ("${STR/b?r/X}${STR#nothing}", "fooXbazfoobarbaz"),
        ("${STR//o/}", "fbarbaz"),
        (r"${PATHS//\//-}", "-usr-local-bin"),
        (r"${STAR/\*/+} ${STAR//\*/+}", "a+b*c a+b+c"),
        ("${PATHS##*/} ${PATHS%/*}", "bin /usr/local"),
        ("$", "$"),
        ("a$ b", "a$ b"),
        ("$1x $?", "x "),
        ("a\\", "a"),
        ("${V#v}", "1.2.3"),
        ("äöü${A}ß", "äöü1ß"),
    ],
)
def test_word(text: str, expected: str) -> None:
    """Each form of the reference expands as the reference says."""
    assert Lexer(_ENV).word(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a  b\tc", ["a", "b", "c"]),
        ("$SPACED", ["two", "words"]),
        ('"$SPACED"', ["two words"]),
        (r"a\ b", ["a b"]),
        ("$X", []),
        ("'a b'c d", ["a bc", "d"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    """Unquoted white space splits, also that which came out of a variable."""
    assert Lexer(_ENV).words(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("'a", "unexpected end of statement while looking for matching single-quote"),
        ('"a', "unexpected end of statement while looking for matching double-quote"),
        ("${A", "syntax error: missing '}'"),
        ("${", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${:x}", "syntax error: bad substitution"),
        ("${A:x}", "unsupported modifier (:x) in substitution"),
        ("${A@x}", "unsupported modifier (@) in substitution"),
        ("${X:?}", "X: is not allowed to be unset"),
        ("${E:?}", "E: is not allowed to be empty"),
        ("${X?say why}", "X: say why"),
        ("${A:-x", "syntax error: missing '}'"),
        ("${STR/a}", "syntax error: missing '/' in ${}"),
        (r"${STR#\a}", r"invalid pattern (\a) in substitution: invalid escape '\a'"),
        ("${A:-" * 200, "variables are nested too deeply"),
    ],
)
def test_wrong(text: str, message: str) -> None:
    """A word that cannot be expanded is refused with docker's sentence."""
    with pytest.raises(WordError) as caught:
        Lexer(_ENV).word(text)
    assert str(caught.value).endswith(message)


def test_other_escape() -> None:
    """With the backtick as escape character a backslash is an ordinary one."""
    assert Lexer(_ENV, escape="`").word("c:\\$A `$A") == "c:\\1 $A"


def test_used_names() -> None:
    """The lexer remembers which variables were there and which were not."""
    lexer = Lexer(_ENV)
    lexer.word("$A ${STR#f} ${X:-$Y}")
    assert lexer.used == {"A", "STR"}
    assert lexer.missing == {"X", "Y"}


def test_raw() -> None:
    """A raw lexer keeps quotes, escapes and unknown variables."""
    text = r"""a "b c" 'd $x' $y \e ${z:-1}"""
    assert Lexer({}, raw=True).words(text) == ["a", '"b c"', "'d $x'", "$y", "\\e", "${z:-1}"]


def test_file_contents() -> None:
    """Quotes in the content of a here-document are content."""
    assert Lexer(_ENV, quotes=False).word('it\'s "$A" \\$A') == 'it\'s "1" $A'


@given(st.text(alphabet="aA${}:-+?#%/\\\"' *@1", max_size=60))
def test_anything(text: str) -> None:
    """Every text expands or raises WordError, nothing else."""
    for raw in (False, True):
        with contextlib.suppress(WordError):
            Lexer(_ENV, raw=raw).words(text)


@given(st.text(alphabet="ab*", max_size=12), st.text(alphabet="ab", max_size=12))
def test_patterns_agree_with_a_regular_expression(pattern: str, value: str) -> None:
    """Trimming finds the shortest and the longest match, as a regular expression would."""
    import re

    longest = re.match(pattern.replace("*", ".*"), value)
    shortest = re.match(re.sub(r"\*+", "*", pattern).replace("*", ".*?"), value)
    lexer = Lexer({"v": value})
    greedy = f"${{v##{pattern}}}" if pattern else "$v"
    lazy = f"${{v#{pattern}}}" if pattern else "$v"
    if pattern.startswith("#"):
        return
    assert lexer.word(greedy) == (value[longest.end() :] if longest else value)
    assert lexer.word(lazy) == (value[shortest.end() :] if shortest else value)
