"""Descriptor: the typed, sized, digested pointer of the OCI specifications (image-spec descriptor.md)."""

from __future__ import annotations

from tiffin.errors import Corrupt
from tiffin.spec import digest as digests
from tiffin.spec.platform import Platform
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Descriptor(Value):
    """What a blob is (`media_type`), which one (`digest`) and how long (`size`, bytes)."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = EMPTY
    platform: Platform | None = None
    artifact_type: str = ""
    urls: tuple[str, ...] = ()

    @staticmethod
    def from_json(value: object) -> Descriptor:
        """Read one; raise Corrupt where a required member is missing or of the wrong type."""
        if not isinstance(value, dict):
            message = "descriptor: not an object"
            raise Corrupt(message)
        media_type, digest, size = (value.get(k) for k in ("mediaType", "digest", "size"))
        # `type`, because true is an int; 2**63 and more no other tool can read.
        if not isinstance(media_type, str) or type(size) is not int or not 0 <= size < 1 << 63:
            message = "descriptor: mediaType and size are required"
            raise Corrupt(message)
        if not isinstance(digest, str) or not digests.valid(digest):
            message = f"descriptor: invalid digest {digest!r}"
            raise Corrupt(message)
        platform = value.get("platform")
        annotations = value.get("annotations")
        urls = value.get("urls")
        return Descriptor(
            media_type=media_type,
            digest=digest,
            size=size,
            annotations=_strings(annotations) if isinstance(annotations, dict) else EMPTY,
            platform=Platform.from_json(platform) if isinstance(platform, dict) else None,
            artifact_type=str(value.get("artifactType") or ""),
            urls=tuple(map(str, urls)) if isinstance(urls, list) else (),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the members as the specification names them, absent ones left out."""
        value: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.urls:
            value["urls"] = list(self.urls)
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        if self.platform:
            value["platform"] = self.platform.to_json()
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        return value


def _strings(annotations: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in annotations.items()}
