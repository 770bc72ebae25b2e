"""Why a step is cached, or is not: keys made of named ingredients, and their comparison.

A step's ingredients are a small JSON object (parent, instruction, arguments, the digest of a *listing*
of its input files). The key is their sha256. The listing, one line of fact per file, is kept beside as a
memo, and so are the ingredients of the last step at the same place of the same Dockerfile: a miss is
explained by comparing.
"""

from __future__ import annotations

import hashlib
import stat

from tiffin.build import explain, failure
from tiffin.build.events import Why
from tiffin.errors import Corrupt
from tiffin.spec import jsontext
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Protocol

    from tiffin.build.context import Entry
    from tiffin.build.digests import Digests
    from tiffin.build.parser import Statement
    from tiffin.build.roles import RunRequest
else:
    Protocol = object

VERSION = 1
_BUILT = "built "


class Hit(Protocol):
    """A remembered step."""

    @property
    def result(self) -> Mapping[str, Any]:
        """What was put."""


class StepCache(Protocol):
    """Where steps are remembered (the store's build cache plays it, and Memo too)."""

    def find(self, key: str) -> Hit | None:
        """Return the step of a key."""

    def put(self, key: str, ingredients: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Remember a step."""

    def forget(self, keys: Iterable[str]) -> None:
        """Forget some steps."""

    def recall(self, key: str) -> bytes | None:
        """See Memo."""

    def remember(self, key: str, value: bytes) -> None:
        """See Memo."""


class Result(Value):
    """What a step made: a layer over its parent. `created` is the moment that history shows."""

    diff_id: str
    chain_id: str
    size: int
    created: str


class Lookup(Value):
    """The answer for one step: its key, what was remembered, and why there is nothing."""

    key: str
    result: Result | None
    why: Why


class Listing:
    """The input files of one step, as facts by name."""

    def __init__(self) -> None:
        """Begin without any."""
        self.facts: dict[str, str] = {}

    def add(self, prefix: str, entries: Iterable[Entry], digests: Digests) -> None:
        """Add scanned entries: kind, mode and content; times and owners are not looked at."""
        facts = self.facts
        for entry in entries:
            name = f"{prefix}/{entry.name}" if entry.name and prefix else entry.name or prefix or "."
            mode = entry.info.st_mode
            if stat.S_ISREG(mode):
                fact = f"{mode & 0o7777:o} {digests.of(entry).hex()}"
                if entry.attributes:
                    fact += f" {entry.attributes!r}"
            elif stat.S_ISLNK(mode):
                fact = f"-> {_text(entry.link)}"
            else:
                fact = f"{mode:o}"
            facts[_text(name)] = fact

    def add_text(self, name: str, data: bytes) -> None:
        """Add a here-document."""
        self.facts[f"<<{name}"] = hashlib.sha256(data).hexdigest()

    def digest(self) -> str:
        """Return the digest of all facts."""
        return hashlib.sha256(self._bytes()).hexdigest()

    def _bytes(self) -> bytes:
        return jsontext.dumps_bytes(self.facts)


def _text(name: str) -> str:
    """Write a name that is not UTF-8 in a way that JSON can hold."""
    if name.isascii():
        return name
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return name


class Cache:
    """The step cache as one build uses it. `enabled` False (`--no-cache`) finds nothing, and still learns."""

    def __init__(self, steps: StepCache, project: str, *, enabled: bool = True) -> None:
        """`project` tells this context and Dockerfile from others, for explanations only."""
        self._steps = steps
        self._project = project
        self._enabled = enabled

    def look(
        self, place: str, ingredients: Mapping[str, Any], listing: Listing | None, *, anew: bool = False
    ) -> Lookup:
        """Look a step up, unless it is to be done `anew`; `place` is where it stands (stage, text)."""
        if listing is not None:
            ingredients = {**ingredients, "files": listing.digest()}
        key = _key(ingredients)
        if anew or not self._enabled:
            return Lookup(key=key, result=None, why=Why(verdict="unwanted", text="no cache wanted"))
        hit = self._steps.find(key)
        if hit is not None:
            result = hit.result
            try:
                fields = {name: result[name] for name in Result._fields}
                done = Result(**fields)
                return Lookup(key=key, result=done, why=Why(verdict="cached", since=done.created))
            except KeyError:
                pass  # of another version
        return Lookup(key=key, result=None, why=self._explain(place, ingredients, listing))

    def put(
        self, place: str, ingredients: Mapping[str, Any], listing: Listing | None, result: Result
    ) -> None:
        """Remember a step that was done."""
        if listing is not None:
            ingredients = {**ingredients, "files": listing.digest()}
            self._steps.remember(f"files {ingredients['files']}", jsontext.dumps_bytes(listing.facts))
        self._steps.put(_key(ingredients), ingredients, result.as_dict())
        dated = {**ingredients, "created": result.created}
        self._steps.remember(self._last(place), jsontext.dumps_bytes(dated))

    def moment(self, ingredients: Mapping[str, Any], now: str) -> str:
        """Return when an image of these ingredients was first made, remembering `now` if it never was."""
        key = _key(ingredients)
        hit = self._steps.find(key) if self._enabled else None
        if hit is not None and isinstance(hit.result.get("created"), str):
            return str(hit.result["created"])
        self._steps.put(key, ingredients, {"created": now})
        return now

    def keep_failed(
        self, stage: str, statement: Statement, request: RunRequest, mounts: Sequence[Value]
    ) -> str:
        """Remember a failed RUN, the only one of this Dockerfile's stage; return its id."""
        key = self._failed(stage)
        layers = {"chain_id": request.layers[-1], "layers": list(request.layers)}
        self._steps.put(key, failure.ingredients(statement, request, mounts), layers)
        return key.removeprefix(failure.PREFIX)

    def forget_failed(self, stage: str) -> None:
        """Forget the failed RUN of a stage: one has worked since."""
        key = self._failed(stage)
        if self._steps.find(key) is not None:
            self._steps.forget([key])

    def _failed(self, stage: str) -> str:
        place = hashlib.sha256(f"{self._project}\0{stage}".encode("utf-8", "replace"))
        return f"{failure.PREFIX}{place.hexdigest()[:12]}"

    def _last(self, place: str) -> str:
        return "last " + hashlib.sha256(f"{self._project}\0{place}".encode("utf-8", "replace")).hexdigest()

    def base(self, place: str, image_id: str) -> Why:
        """Tell whether a FROM starts from the image that it started from the last time, and remember."""
        now = {"kind": "FROM", "image": image_id}
        before = _object(self._steps.recall(self._last(place)))
        if before != now:
            self._steps.remember(self._last(place), jsontext.dumps_bytes(now))
        if before is None or before == now:
            return Why(verdict="cached" if before else "new")
        return explain.compare(before, now, (None, None))

    def _explain(self, place: str, now: Mapping[str, Any], listing: Listing | None) -> Why:
        before = _object(self._steps.recall(self._last(place)))
        if before is None:
            return Why(verdict="new", text="new instruction")
        facts = None
        if listing is not None and before.get("files") != now.get("files"):
            facts = _object(self._steps.recall(f"files {before.get('files')}"))
        return explain.compare(before, now, (facts, listing.facts if listing else None))

    def keep(self, explanation: explain.Explanation) -> None:
        """Remember how an image was built; that nothing had to be done says less than what is there."""
        name = f"{_BUILT}{explanation.image_id}"
        idle = all(step.cached or not step.layer for step in explanation.steps)
        if not idle or self._steps.recall(name) is None:
            self._steps.remember(name, jsontext.dumps_bytes(explanation.to_json()))


def explanation(steps: StepCache, image_id: str) -> explain.Explanation | None:
    """Return how an image was built, None if it was not built here or that is forgotten."""
    found = _object(steps.recall(f"{_BUILT}{image_id}"))
    if found is None or found.get("schemaVersion") != explain.SCHEMA:
        return None
    return explain.Explanation.from_json(found)


def _key(ingredients: Mapping[str, Any]) -> str:
    return "sha256:" + hashlib.sha256(jsontext.dumps_bytes({"version": VERSION, **ingredients})).hexdigest()


def _object(raw: bytes | None) -> dict[str, Any] | None:
    try:
        return jsontext.load_object(raw) if raw else None
    except Corrupt:
        return None
