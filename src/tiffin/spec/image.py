"""ImageConfig: what an image is and how it runs (OCI image-spec config.md, docker's extensions kept)."""

from __future__ import annotations

from tiffin.errors import Corrupt
from tiffin.spec import digest as digests
from tiffin.spec import jsontext
from tiffin.spec.container import ContainerConfig
from tiffin.spec.platform import Platform
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class HistoryEntry(Value):
    """One line of history; `empty_layer` says that it made no layer."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    @staticmethod
    def from_json(value: dict[str, Any]) -> HistoryEntry:
        """Read one entry; missing members are empty."""
        return HistoryEntry(
            created=str(value.get("created") or ""),
            created_by=str(value.get("created_by") or ""),
            author=str(value.get("author") or ""),
            comment=str(value.get("comment") or ""),
            empty_layer=value.get("empty_layer") is True,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the members, empty ones left out."""
        return {k: v for k, v in self.as_dict().items() if v}


class ImageConfig(Value):
    """A parsed config. `raw` is what the image id is the digest of; change it only by `build`."""

    raw: bytes
    platform: Platform
    config: ContainerConfig
    diff_ids: tuple[str, ...]
    history: tuple[HistoryEntry, ...] = ()
    created: str = ""
    author: str = ""

    @property
    def id(self) -> str:
        """The image id: the digest of the config's bytes."""
        return digests.of(self.raw)

    @staticmethod
    def parse(raw: bytes) -> ImageConfig:
        """Parse a config; raise Corrupt for junk."""
        body = jsontext.load_object(raw)
        rootfs = body.get("rootfs") or {}
        diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        diff_ids = [] if diff_ids is None else diff_ids
        if not isinstance(diff_ids, list):
            message = "image config: rootfs.diff_ids must be a list"
            raise Corrupt(message)
        for diff_id in diff_ids:
            if not isinstance(diff_id, str) or not digests.valid(diff_id):
                message = f"image config: invalid diff_id {diff_id!r}"
                raise Corrupt(message)
        config, history = body.get("config"), body.get("history")
        return ImageConfig(
            raw=raw,
            platform=Platform.from_json(body),
            config=ContainerConfig.from_json(config if isinstance(config, dict) else {}),
            diff_ids=tuple(diff_ids),
            history=tuple(
                HistoryEntry.from_json(h)
                for h in (history if isinstance(history, list) else ())
                if isinstance(h, dict)
            ),
            created=str(body.get("created") or ""),
            author=str(body.get("author") or ""),
        )

    @staticmethod
    def build(
        *,
        platform: Platform,
        config: ContainerConfig,
        diff_ids: tuple[str, ...],
        history: tuple[HistoryEntry, ...],
        created: str,
        author: str = "",
    ) -> ImageConfig:
        """Make a new config and its bytes (key order fixed, so equal inputs give equal ids)."""
        body: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
        if platform.variant:
            body["variant"] = platform.variant
        if author:
            body["author"] = author
        body["created"] = created
        body["config"] = config.to_image_json()
        body["rootfs"] = {"type": "layers", "diff_ids": list(diff_ids)}
        body["history"] = [entry.to_json() for entry in history]
        return ImageConfig(
            raw=jsontext.dumps_bytes(body),
            platform=platform,
            config=config,
            diff_ids=diff_ids,
            history=history,
            created=created,
            author=author,
        )
