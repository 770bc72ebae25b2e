"""Lists with `--format`: one shape for every list command; docker's rules for `table`, `json`, templates."""

from __future__ import annotations

from tiffin.cli import format as formats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Fields = Mapping[str, Callable[[Any], object]]


def show(
    items: Sequence[Any], wanted: str, *, columns: Sequence[str], fields: Fields, headers: Mapping[str, str]
) -> str:
    """Return a list as text.

    `wanted` is the value of `--format` ("" and `table` show `columns`); `fields` computes each value of
    an item; `headers` names the columns.
    """
    if wanted in {"", "table"}:
        rows = [[headers[name] for name in columns]]
        rows += [[str(fields[name](item)) for name in columns] for item in items]
        return formats.table(rows)
    if wanted == "json":
        wanted = "{{json .}}"
    return _templated(items, wanted, fields, headers)


def _templated(items: Sequence[Any], wanted: str, fields: Fields, headers: Mapping[str, str]) -> str:
    from tiffin.cli import template

    heading = wanted.startswith("table")
    wanted = wanted.removeprefix("table").strip() if heading else wanted
    # A shell hands over the two characters \t and \n; docker reads them as the one that they mean.
    compiled = template.parse(wanted.replace("\\t", "\t").replace("\\n", "\n"))
    texts = [compiled.render(_Row(item, fields)) for item in items]
    if not heading:
        return "".join(f"{text}\n" for text in texts)
    texts.insert(0, compiled.render(_Header(headers)))
    return formats.table([line.split("\t") for text in texts for line in text.split("\n")])


class _Header:
    """The titles, which a template sees in place of the first row; any field may be asked for."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __contains__(self, name: str) -> bool:
        return True

    def __getitem__(self, name: str) -> object:
        return self._headers.get(name) if name != "Label" else _label_header

    def as_json(self) -> None:
        """Return nothing: a row as a whole has no title."""


def _label_header(name: str) -> str:
    return name.rpartition(".")[2].replace("-", " ").replace("_", " ")


class _Row:
    """One item as a template sees it: each field is computed when it is asked for."""

    def __init__(self, item: object, fields: Fields) -> None:
        self._item = item
        self._fields = fields

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def __getitem__(self, name: str) -> object:
        return self._fields[name](self._item)

    def as_json(self) -> dict[str, object]:
        """Return every plain field, sorted by name as docker's `--format json` has them."""
        computed = {name: self._fields[name](self._item) for name in sorted(self._fields)}
        return {name: value for name, value in computed.items() if not callable(value)}
