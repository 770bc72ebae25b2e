"""`--filter` of the list commands: parsed once, checked by docker's rules (values OR-ed, labels AND-ed)."""

from __future__ import annotations

from tiffin.errors import InvalidArgument, NotFound
from tiffin.spec import clock
from tiffin.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tiffin.engine.image_views import ImageView
    from tiffin.engine.views import ContainerView
    from tiffin.store.store import Store
    from tiffin.store.volumes import VolumeRecord

    Filters = Mapping[str, Sequence[str]]

CONTAINER_KEYS = frozenset(
    [
        "ancestor",
        "before",
        "exited",
        "expose",
        "health",
        "id",
        "is-task",
        "label",
        "name",
        "network",
        "publish",
        "since",
        "status",
        "volume",
    ]
)
IMAGE_KEYS = frozenset(["before", "dangling", "label", "reference", "since", "until"])
VOLUME_KEYS = frozenset(["dangling", "driver", "label", "name"])
PRUNE_KEYS = frozenset(["dangling", "label", "label!", "until", "unused-for"])
_STATES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")


def check(filters: Filters, known: frozenset[str]) -> None:
    """Raise InvalidArgument for a key that this list does not know."""
    for key in filters:
        if key not in known:
            message = f"invalid filter '{key}'"
            raise InvalidArgument(message, hint="known are " + ", ".join(sorted(known)))


def labels_match(labels: Mapping[str, str], wanted: Sequence[str]) -> bool:
    """Tell whether every `KEY` or `KEY=VALUE` holds."""
    for text in wanted:
        key, equals, value = text.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def boolean(value: str, key: str) -> bool:
    """Read docker's booleans (1 t true ... 0 f false); raise InvalidArgument for others."""
    lower = value.lower()
    if lower in {"1", "t", "true"}:
        return True
    if lower in {"0", "f", "false"}:
        return False
    message = f"invalid filter '{key}={value}'"
    raise InvalidArgument(message)


def moment(text: str, now_ns: int) -> int:
    """Read a moment: seconds since 1970, RFC 3339, a day, or a Go duration before now. Nanoseconds."""
    seconds, _, fraction = text.partition(".")
    if seconds.isdigit() and (not fraction or fraction.isdigit()):
        return int(seconds) * 1_000_000_000 + int((fraction + "000000000")[:9])
    ago = _duration(text)
    if ago is not None:
        return now_ns - ago
    for suffix in ("", "Z", "T00:00:00Z", ":00Z"):
        try:
            return clock.to_ns(text + suffix)
        except ValueError:
            continue
    message = f"invalid value for time: {text!r}"
    raise InvalidArgument(
        message, hint="write 2026-01-31T10:00:00Z, seconds since 1970, or a duration such as 24h"
    )


def span(text: str) -> int:
    """Read a length of time: a Go duration, or days and weeks such as `14d`, `2w`. Nanoseconds."""
    days = {"d": 1, "w": 7}.get(text[-1:], 0)
    if days and text[:-1].isascii() and text[:-1].isdigit():
        return int(text[:-1]) * days * 24 * _UNITS["h"]
    found = _duration(text)
    if found is None:
        message = f"invalid length of time: {text!r}"
        raise InvalidArgument(message, hint="write 14d, 2w, 12h or 30m")
    return found


_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def _duration(text: str) -> int | None:
    total, number, rest = 0, "", text
    while rest:
        number = ""
        while rest and (rest[0].isdigit() or rest[0] == "."):
            number, rest = number + rest[0], rest[1:]
        unit = next((u for u in ("ns", "us", "ms", "h", "m", "s") if rest.startswith(u)), "")
        if not unit or not number or number.count(".") > 1 or number == ".":
            return None
        total += int(float(number) * _UNITS[unit])
        rest = rest[len(unit) :]
    return total if text else None


def containers(
    views: Sequence[ContainerView],
    filters: Filters,
    *,
    image_id: Callable[[str], str],
    image_family: Callable[[str], Iterable[str]],
) -> list[ContainerView]:
    """Return those that pass. `image_id` resolves a name, `image_family` all images built on one."""
    check(filters, CONTAINER_KEYS)
    for status in filters.get("status", ()):
        if status not in _STATES:
            message = f"invalid filter 'status={status}'"
            raise InvalidArgument(message, hint="one of " + ", ".join(_STATES))
    ancestors = {i for name in filters.get("ancestor", ()) for i in image_family(image_id(name))}
    after = max((_created(views, name) for name in filters.get("since", ())), default=None)
    before = min((_created(views, name) for name in filters.get("before", ())), default=None)
    tests: list[Callable[[ContainerView], bool]] = []

    def any_of(key: str, test: Callable[[ContainerView, str], bool]) -> None:
        values = filters.get(key, ())
        if values:
            tests.append(lambda view: any(test(view, value) for value in values))

    any_of("id", lambda view, value: view.id.startswith(value))
    any_of("name", lambda view, value: _name_matches(view.name, value))
    any_of("status", lambda view, value: view.state.status == value)
    any_of("exited", lambda v, value: v.state.status == "exited" and str(v.state.exit_code) == value)
    any_of("network", lambda view, value: value in view.networks)
    any_of("volume", lambda view, value: any(value in {m.name, m.destination} for m in view.mounts))
    any_of("expose", _port_listed)
    any_of("publish", lambda view, value: any(_same_port(value, p[1], p[2]) for p in view.ports))
    any_of("health", lambda view, value: (view.state.health or "none") == value)
    any_of("is-task", lambda _view, value: not boolean(value, "is-task"))
    if filters.get("label"):
        tests.append(lambda view: labels_match(view.labels, filters["label"]))
    if "ancestor" in filters:
        tests.append(lambda view: view.image_id in ancestors)
    if after is not None:
        tests.append(lambda view: clock.to_ns(view.created) > after)
    if before is not None:
        tests.append(lambda view: clock.to_ns(view.created) < before)
    return [view for view in views if all(test(view) for test in tests)]


def _created(views: Sequence[ContainerView], name: str) -> int:
    for view in views:
        if view.name == name.lstrip("/") or (len(name) >= 3 and view.id.startswith(name)):
            return clock.to_ns(view.created)
    message = f"No such container: {name}"
    raise NotFound(message)


def _name_matches(name: str, pattern: str) -> bool:
    """Match as docker: an unanchored regular expression, against the name with and without a slash."""
    import re

    try:
        compiled = re.compile(pattern)
    except re.error as error:
        message = f"invalid filter 'name={pattern}': {error}"
        raise InvalidArgument(message) from error
    return bool(compiled.search(name) or compiled.search(f"/{name}"))


def _same_port(text: str, number: int, protocol: str) -> bool:
    """Tell whether `8080`, `8080/tcp` or `8000-9000` means a port."""
    wanted, _, kind = text.partition("/")
    low, _, high = wanted.partition("-")
    if not low.isdigit() or not (high or low).isdigit():
        raise InvalidArgument(f"invalid filter 'publish={text}'")
    return int(low) <= number <= int(high or low) and protocol == (kind or "tcp")


def _port_listed(view: ContainerView, value: str) -> bool:
    port, _, protocol = value.partition("/")
    return f"{port}/{protocol or 'tcp'}" in view.exposed_ports


def images(
    views: Sequence[ImageView], filters: Filters, *, find: Callable[[str], ImageView], now_ns: int
) -> list[ImageView]:
    """Return those that pass; a `reference` filter also drops an image's other names."""
    check(filters, IMAGE_KEYS)
    found = list(views)
    if filters.get("dangling"):
        wanted = any(boolean(value, "dangling") for value in filters["dangling"])
        found = [view for view in found if view.dangling == wanted]
    if filters.get("label"):
        found = [view for view in found if labels_match(view.labels, filters["label"])]
    for name in filters.get("before", ()):
        limit = created_ns(find(name))
        found = [view for view in found if created_ns(view) < limit]
    for name in filters.get("since", ()):
        limit = created_ns(find(name))
        found = [view for view in found if created_ns(view) > limit]
    for text in filters.get("until", ()):
        limit = moment(text, now_ns)
        found = [view for view in found if created_ns(view) < limit]
    patterns = filters.get("reference", ())
    if patterns:
        found = [narrowed for view in found if (narrowed := _narrow(view, patterns))]
    return found


def volume_passes(store: Store, record: VolumeRecord, filters: Filters) -> bool:
    """Tell whether a volume is what all filters ask for."""
    check(filters, VOLUME_KEYS)
    for key, values in filters.items():
        if key == "name":
            passes = any(_name_matches(record.name, value) for value in values)
        elif key == "driver":
            passes = "local" in values
        elif key == "label":
            passes = labels_match(record.labels, values)
        else:
            unused = not store.volumes.users(record.name)
            passes = all(boolean(value, key) == unused for value in values)
        if not passes:
            return False
    return True


def created_ns(view: ImageView) -> int:
    """Return when an image was made, 0 where it does not say."""
    try:
        return clock.to_ns(view.created)
    except ValueError:
        return 0


def _narrow(view: ImageView, patterns: Sequence[str]) -> ImageView | None:
    tags = tuple(t for t in view.tags if any(reference_matches(t, p) for p in patterns))
    digests = tuple(d for d in view.digests if any(reference_matches(d, p) for p in patterns))
    if not tags and not digests:
        return None
    return view.replace(tags=tags, digests=digests)


def reference_matches(name: str, pattern: str) -> bool:
    """Match a familiar name by docker's glob: `*` stays within a path part; the tag may be left out."""
    parsed = Reference.parse(name)
    return any(
        _glob(candidate, pattern) for candidate in (name, parsed.familiar_name, parsed.name, str(parsed))
    )


def _glob(text: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    left, right = text.split("/"), pattern.split("/")
    return len(left) == len(right) and all(map(fnmatchcase, left, right))
