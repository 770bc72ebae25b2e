"""import: a tar of a file system becomes an image of one layer."""

from __future__ import annotations

from contextlib import closing, contextmanager

from urllib3.exceptions import HTTPError

from tiffin.build import changes as changing
from tiffin.engine.assemble import assemble, built_layer
from tiffin.engine.commit import image_name
from tiffin.engine.flight import in_flight
from tiffin.errors import NotFound, Unavailable
from tiffin.layer import apply, diff
from tiffin.layer.limits import Limits
from tiffin.spec import clock
from tiffin.spec.container import ContainerConfig
from tiffin.spec.image import HistoryEntry, ImageConfig
from tiffin.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from tiffin.engine.engine import Engine


def import_image(
    engine: Engine,
    source: BinaryIO | str,
    *,
    name: str = "",
    changes: Sequence[str] = (),
    message: str = "",
    platform: str = "",
) -> str:
    """Make an image of a tar (also gzip, zstd, xz, bzip2; a stream or a URL) and return its id.

    Nothing stays if it fails.

    The layer's digest is that of our own serialiser: the same files give the same layer, however their tar
    was written.
    """
    store = engine.store
    xattr = engine.settings.privilege.xattr
    origin = source if isinstance(source, str) else "-"
    tags = (image_name(name),) if name else ()
    wanted = Platform.parse(platform) if platform else Platform.here()
    config = changing.apply(ContainerConfig(), changes)
    with in_flight(engine, "import"), _opened(engine, source) as read, store.snapshots.begin() as draft:
        apply.apply_stream(read, draft.path, xattr=xattr, limits=Limits.of(engine.settings))
        measured = diff.measure(draft.path, xattr=xattr)
        chain_id = store.snapshots.commit(
            draft, parent="", diff_id=measured.diff_id, size=measured.size, tar_size=measured.tar_size
        )
        created = clock.now()
        image = ImageConfig.build(
            platform=wanted,
            config=config,
            diff_ids=(measured.diff_id,),
            history=(HistoryEntry(created=created, comment=message or f"Imported from {origin}"),),
            created=created,
        )
        layers = (built_layer(store, measured.diff_id, chain_id),)
        made = assemble(store, image, layers, size=measured.size, tags=tags)
    store.events.append("image", "import", made.id, {"name": name or made.id})
    return made.id


@contextmanager
def _opened(engine: Engine, source: BinaryIO | str) -> Iterator[Callable[[int], bytes]]:
    """Yield what reads the tar; raise Unavailable, NotFound where a URL does not give one."""
    if not isinstance(source, str):
        yield source.read
        return
    from urllib.parse import urlsplit

    from tiffin.registry.transport import Request, Transport, translate

    with closing(Transport(urlsplit(source).netloc.rpartition("@")[2], engine.settings)) as transport:
        request = Request(method="GET", url=source)
        with closing(transport.request(request)) as answer:
            if answer.status != 200:
                message = f"{request.verb}: unexpected status {answer.status}"
                raise (NotFound if answer.status == 404 else Unavailable)(message)

            def read(size: int) -> bytes:
                try:
                    return answer.read(size, decode_content=False)
                except (HTTPError, OSError) as error:
                    raise translate(error, request.verb, source) from error

            yield read
