"""Manifest lists made by hand: `docker manifest`. They lie in the store until they are pushed.

A list is a small file that names manifests of a registry; nothing of the images themselves is fetched, and
a pull never looks at it.
"""

from __future__ import annotations

import os
from contextlib import closing

from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.registry.client import Repository
from tiffin.settings import RegistrySettings
from tiffin.spec import jsontext, mediatype
from tiffin.spec import manifest as documents
from tiffin.spec.descriptor import Descriptor
from tiffin.spec.reference import Reference
from tiffin.spec.value import EMPTY, Value
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from tiffin.engine.engine import Engine
    from tiffin.settings import Settings

_PLATFORM = ("architecture", "os", "os.version", "os.features", "variant")
_ARCHITECTURES = {
    "aix": "ppc64",
    "android": "386 amd64 arm arm64",
    "darwin": "386 amd64 arm arm64",
    "dragonfly": "amd64",
    "freebsd": "386 amd64 arm arm64",
    "linux": "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x",
    "netbsd": "386 amd64 arm",
    "openbsd": "386 amd64 arm",
    "plan9": "386 amd64 arm",
    "solaris": "amd64",
    "wasip1": "wasm",
    "windows": "386 amd64 arm arm64",
}
"""What may stand in a list, as Go knows it."""


class Entry(Value):
    """One manifest of a list: the canonical name it was found by, what it is, whose platform it is for."""

    reference: str
    descriptor: Descriptor
    platform: Mapping[str, Any] = EMPTY

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in an index."""
        bare = self.descriptor.replace(platform=None).to_json()
        return bare | {"platform": dict(self.platform)} if self.platform else bare


class Sent(Value):
    """What a push did: the references that were put beside the list, by digest, and the list's own digest."""

    references: tuple[str, ...]
    digest: str


class Manifests:
    """Lists of one engine, and manifests as registries have them. `insecure` needs no certificate."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine

    def create(
        self, name: str, manifests: Sequence[str], *, amend: bool = False, insecure: bool = False
    ) -> str:
        """Make a list of manifests that are in a registry, or add to one; return its canonical name.

        Raises Conflict where there is a list already and `amend` is not given.
        """
        target = _named(name)
        known = self._load(target)
        if known and not amend:
            message = "refusing to amend an existing manifest list with no --amend flag"
            raise Conflict(message, hint=f"tiffin manifest rm {target.familiar} forgets the list")
        entries = {entry.reference: entry for entry in known or ()}
        for text in manifests:
            entry = self._find(_named(text), insecure=insecure)
            entries[entry.reference] = entry
        self._save(target, tuple(entries.values()))
        return str(target)

    def annotate(self, name: str, manifest: str, platform: Mapping[str, Any]) -> None:
        """Say of one manifest of a list whose platform it is for; members that are not given stay."""
        target, wanted = _named(name), str(_named(manifest))
        entries = self._known(target)
        if wanted not in {entry.reference for entry in entries}:
            message = f"manifest for image {manifest} does not exist in {name}"
            raise NotFound(message, hint=f"it has {', '.join(entry.reference for entry in entries)}")
        changed = []
        for entry in entries:
            said = {**entry.platform, **platform} if entry.reference == wanted else dict(entry.platform)
            ordered = {key: said[key] for key in _PLATFORM if said.get(key)}
            if entry.reference == wanted:
                _check_platform(ordered)
            changed.append(entry.replace(platform=ordered))
        self._save(target, changed)

    def inspect(self, manifest: str, *, within: str = "", insecure: bool = False) -> bytes:
        """Return a list as it would be pushed, else what a registry has under a name.

        With `within`, the manifest of that list's entry.
        """
        reference = _named(manifest)
        if within:
            entries = self._known(_named(within))
            if str(reference) not in {entry.reference for entry in entries}:
                raise _missing(manifest)
            return self._raw(reference, insecure=insecure)[1]
        known = self._load(reference)
        return _index(known)[0] if known else self._raw(reference, insecure=insecure)[1]

    def details(
        self, manifest: str, *, within: str = "", insecure: bool = False
    ) -> tuple[dict[str, Any], ...]:
        """Return docker's verbose words for a manifest, or for each one of a list."""
        reference = _named(manifest)
        known = self._known(_named(within)) if within else self._load(reference)
        if within:
            known = tuple(entry for entry in known or () if entry.reference == str(reference))
            if not known:
                raise _missing(manifest)
        if known is None:
            descriptor, raw = self._raw(reference, insecure=insecure)
            parsed = documents.parse(raw, descriptor.media_type)
            if isinstance(parsed, documents.Manifest):
                known = (self._find(reference, insecure=insecure),)
            else:
                known = tuple(_entry_of(reference, entry) for entry in jsontext.load_object(raw)["manifests"])
        return tuple(self._detail(entry, insecure=insecure) for entry in known)

    def found(self, name: str) -> tuple[Descriptor, tuple[Mapping[str, Any], ...]]:
        """Return what a registry has under a name: its descriptor, and the platforms that it is for."""
        reference = _named(name)
        descriptor, raw = self._raw(reference, insecure=False)
        parsed = documents.parse(raw, descriptor.media_type)
        if isinstance(parsed, documents.Manifest):
            return descriptor, (self._find(reference, insecure=False).platform,)
        entries = (_entry_of(reference, one) for one in jsontext.load_object(raw)["manifests"])
        return descriptor, tuple(entry.platform for entry in entries)

    def push(self, name: str, *, purge: bool = False, insecure: bool = False) -> Sent:
        """Send a list, and what it names that its repository lacks; with `purge` forget the list then."""
        target = _named(name)
        entries = self._known(target)
        for entry in entries:
            _check_platform(entry.platform)
        sent = []
        with Repository(target, self._settings(target, insecure=insecure)) as repository:
            for entry in entries:
                origin = Reference.parse(entry.reference)
                if origin.name != target.name:
                    self._copy(entry, origin, repository, insecure=insecure)
                    sent.append(f"{target.name}@{entry.descriptor.digest}")
            raw, media_type = _index(entries)
            digest = repository.put_manifest(raw, media_type, target.tag)
        if purge:
            self.remove(name)
        return Sent(references=tuple(sent), digest=digest)

    def remove(self, name: str) -> None:
        """Forget a list; raises NotFound."""
        if not atomic.remove_file(self._path(_named(name))):
            raise _missing(name)

    # Registries

    def _settings(self, reference: Reference, *, insecure: bool) -> Settings:
        settings = self._engine.settings
        if not insecure:
            return settings
        said = settings.registries.get(reference.domain, RegistrySettings()).replace(tls_verify=False)
        return settings.replace(registries={**settings.registries, reference.domain: said})

    def _raw(self, reference: Reference, *, insecure: bool) -> tuple[Descriptor, bytes]:
        with Repository(reference, self._settings(reference, insecure=insecure)) as repository:
            return repository.resolve()

    def _find(self, reference: Reference, *, insecure: bool) -> Entry:
        """Return what a registry has under a name, which must be one image's manifest."""
        with Repository(reference, self._settings(reference, insecure=insecure)) as repository:
            descriptor, raw = repository.resolve()
            parsed = documents.parse(raw, descriptor.media_type)
            if not isinstance(parsed, documents.Manifest):
                message = f"{reference.familiar} is a manifest list"
                raise InvalidArgument(message, hint="name the manifests in it, by digest")
            with closing(repository.open_blob(parsed.config)) as reader:
                config = jsontext.load_object(reader.read())
        platform = {key: config[key] for key in _PLATFORM if config.get(key)}
        return Entry(
            reference=str(reference),
            descriptor=descriptor.replace(media_type=parsed.media_type),
            platform=platform,
        )

    def _detail(self, entry: Entry, *, insecure: bool) -> dict[str, Any]:
        reference = Reference.parse(entry.reference)
        by_digest = reference.replace(tag="", digest=entry.descriptor.digest)
        _, raw = self._raw(by_digest, insecure=insecure)
        member = (
            "OCIManifest" if entry.descriptor.media_type == mediatype.OCI_MANIFEST else "SchemaV2Manifest"
        )
        return {
            "Ref": entry.reference,
            "Descriptor": entry.to_json(),
            "Raw": _base64(raw),
            member: jsontext.load_object(raw),
        }

    def _copy(self, entry: Entry, origin: Reference, target: Repository, *, insecure: bool) -> None:
        """Have the target's repository hold a manifest and its blobs: mounted, else sent through here."""
        by_digest = origin.replace(tag="", digest=entry.descriptor.digest)
        with Repository(by_digest, self._settings(origin, insecure=insecure)) as source:
            descriptor, raw = source.resolve()
            for blob in (*_manifest(raw, descriptor).layers, _manifest(raw, descriptor).config):
                target.upload(blob, source, lambda _count: None, mount_from=(origin.name,))
        target.put_manifest(raw, entry.descriptor.media_type)

    # Files

    def _path(self, reference: Reference) -> str:
        return self._engine.store.layout.manifest_list(str(reference))

    def _load(self, reference: Reference) -> tuple[Entry, ...] | None:
        try:
            with open(self._path(reference), "rb") as stream:
                body = jsontext.load_object(stream.read())
        except FileNotFoundError:
            return None
        return tuple(
            Entry(
                reference=row["reference"],
                descriptor=Descriptor.from_json(row["descriptor"]),
                platform=row["platform"],
            )
            for row in body["entries"]
        )

    def _known(self, reference: Reference) -> tuple[Entry, ...]:
        entries = self._load(reference)
        if entries is None:
            raise _missing(reference.familiar)
        return entries

    def _save(self, reference: Reference, entries: Sequence[Entry]) -> None:
        path = self._path(reference)
        rows = [
            {"reference": e.reference, "descriptor": e.descriptor.to_json(), "platform": dict(e.platform)}
            for e in entries
        ]
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        atomic.write_file(path, jsontext.dumps_bytes({"name": str(reference), "entries": rows}))


def _named(text: str) -> Reference:
    return Reference.parse(text).tagged()


def _missing(name: str) -> NotFound:
    return NotFound(f"No such manifest: {name}", hint="tiffin manifest create makes a list")


def _manifest(raw: bytes, descriptor: Descriptor) -> documents.Manifest:
    parsed = documents.parse(raw, descriptor.media_type)
    if isinstance(parsed, documents.Index):
        message = f"{descriptor.digest} is a manifest list"
        raise InvalidArgument(message)
    return parsed


def _entry_of(reference: Reference, body: dict[str, Any]) -> Entry:
    descriptor = Descriptor.from_json(body)
    platform = body.get("platform")
    return Entry(
        reference=str(reference.replace(tag="", digest=descriptor.digest)),
        descriptor=descriptor,
        platform=platform if isinstance(platform, dict) else {},
    )


def _check_platform(platform: Mapping[str, Any]) -> None:
    system, architecture = platform.get("os", ""), platform.get("architecture", "")
    if architecture not in _ARCHITECTURES.get(system, "").split():
        message = f"manifest entry for image has unsupported os/arch combination: {system}/{architecture}"
        raise InvalidArgument(message, hint="tiffin manifest annotate --os OS --arch ARCH says what it is")


def _index(entries: Sequence[Entry]) -> tuple[bytes, str]:
    """Return a list's bytes and type: docker's where it names docker's manifests, else OCI's."""
    types = {entry.descriptor.media_type for entry in entries}
    media_type = mediatype.DOCKER_INDEX if mediatype.DOCKER_MANIFEST in types else mediatype.OCI_INDEX
    body = {"schemaVersion": 2, "mediaType": media_type, "manifests": [entry.to_json() for entry in entries]}
    return jsontext.dumps_bytes(body), media_type


def _base64(raw: bytes) -> str:
    import base64

    return base64.b64encode(raw).decode()
