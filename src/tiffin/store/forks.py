"""What a stopped container wrote becomes a layer, and the container goes on over it with an empty upper.

The folder moves by rename, so it costs nothing whatever its size; rows and rename cannot be one step. So a
link beside it says first what it becomes. Killed before the transaction's end, the container still has its
old layers, and whoever prepares it next moves the folder back; gc leaves it alone meanwhile, and who only
reads finds it at either place. Killed after that, it lacks nothing but an empty upper folder.
"""

from __future__ import annotations

import posix
import time

from tiffin.layer.diff import SERIALIZER
from tiffin.spec import digest as digests
from tiffin.spec import jsontext
from tiffin.store import atomic
from tiffin.store.snapshots import BECOMING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.layer.diff import Measured
    from tiffin.store.containers import ContainerRecord
    from tiffin.store.store import Store


def settle(store: Store, record: ContainerRecord, measured: Measured) -> ContainerRecord:
    """Make a container's upper folder, measured as it is, a layer of its own; return the new record.

    To be called under the container's lock; it must not run. When this returns, the layer survives a power
    cut, as the folder would have.
    """
    layout, database = store.layout, store.database
    parent = record.layers[-1] if record.layers else ""
    chain_id = digests.chain_id(parent, measured.diff_id)
    extra = {**record.extra, "own_layers": record.own_layers + 1}
    changed = record.replace(layers=(*record.layers, chain_id), extra=extra)
    folder, name = layout.container(record.id), layout.layer_name(chain_id)
    row = (
        *(chain_id, parent, measured.diff_id, measured.size, SERIALIZER, measured.tar_size),
        *(time.time_ns(), 1),
    )
    try:
        if store.settings.durable:
            atomic.syncfs(layout.root)
        with database.durable() if store.settings.durable else database.transaction():
            known = store.snapshots.has(chain_id)  # somebody wrote just the same
            if not known:
                _move(store, folder, name)
                database.execute("INSERT OR REPLACE INTO layers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            database.execute(
                "UPDATE containers SET layers=?, record=? WHERE id=?",
                ("\n".join(changed.layers), jsontext.dumps(changed.to_json()), record.id),
            )
        if known:
            atomic.remove_tree(f"{folder}/upper")
        store.snapshots.prepare(record.id, changed.layers)
        atomic.remove_file(f"{folder}/{BECOMING}")
    except OSError as error:
        raise atomic.storage_error(error, f"fork {record.name}") from error
    return changed


def keep(store: Store, chain_id: str) -> None:
    """Make a layer survive a power cut that no image names."""
    if store.settings.durable:
        atomic.syncfs(store.layout.root)
    with store.database.durable() if store.settings.durable else store.database.transaction():
        store.database.execute("UPDATE layers SET synced=1 WHERE chain_id=?", (chain_id,))


def _move(store: Store, folder: str, name: str) -> None:
    place = f"{store.layout.layers}/{name}"
    atomic.remove_tree(place)  # what a crash left there without a row
    atomic.remove_file(f"{folder}/{BECOMING}")
    posix.symlink(name, f"{folder}/{BECOMING}")
    posix.rename(f"{folder}/upper", place)
