"""Commands on containers that are not built yet."""

from __future__ import annotations

from tiffin.cli.command import TABLE_FORMAT, Command

NOT_BUILT = "refused: not built yet"

# fmt: off
CP = Command(
    spellings=("container cp", "cp"),
    usage="[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\ttiffin cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    short="Copy files/folders between a container and the local filesystem",
    long=(
        "Copy files/folders between a container and the local filesystem\n"
        "\n"
        "Use '-' as the source to read a tar archive from stdin\n"
        "and extract it to a directory destination in a container.\n"
        "Use '-' as the destination to stream a tar archive of a\n"
        "container source to stdout."
    ),
    minimum=2,
    maximum=2,
    flags=(
        ("archive", "a", "bool", "Archive mode (copy all uid/gid information)", "", NOT_BUILT),
        ("follow-link", "L", "bool", "Always follow symbol link in SRC_PATH", "", NOT_BUILT),
        (
            "quiet", "q", "bool",
            (
                "Suppress progress output during copy. Progress output is automatically suppressed if no "
                "terminal is attached"
            ),
            "", NOT_BUILT,
        ),
    ),
    status=NOT_BUILT,
)

DIFF = Command(
    spellings=("container diff", "diff"),
    usage="CONTAINER",
    short="Inspect changes to files or directories on a container's filesystem",
    minimum=1,
    maximum=1,
    status=NOT_BUILT,
)

PAUSE = Command(
    spellings=("container pause", "pause"),
    usage="CONTAINER [CONTAINER...]",
    short="Pause all processes within one or more containers",
    minimum=1,
    status=NOT_BUILT,
)

PORT = Command(
    spellings=("container port", "port"),
    usage="CONTAINER [PRIVATE_PORT[/PROTO]]",
    short="List port mappings or a specific mapping for the container",
    minimum=1,
    maximum=2,
    status=NOT_BUILT,
)

STATS = Command(
    spellings=("container stats", "stats"),
    usage="[OPTIONS] [CONTAINER...]",
    short="Display a live stream of container(s) resource usage statistics",
    flags=(
        ("all", "a", "bool", "Show all containers (default shows just running)", "", NOT_BUILT),
        ("format", "", "string", TABLE_FORMAT, "", NOT_BUILT),
        ("no-stream", "", "bool", "Disable streaming stats and only pull the first result", "", NOT_BUILT),
        ("no-trunc", "", "bool", "Do not truncate output", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

TOP = Command(
    spellings=("container top", "top"),
    usage="CONTAINER [ps OPTIONS]",
    short="Display the running processes of a container",
    minimum=1,
    interspersed=False,
    status=NOT_BUILT,
)

UNPAUSE = Command(
    spellings=("container unpause", "unpause"),
    usage="CONTAINER [CONTAINER...]",
    short="Unpause all processes within one or more containers",
    minimum=1,
    status=NOT_BUILT,
)

UPDATE = Command(
    spellings=("container update", "update"),
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    short="Update configuration of one or more containers",
    minimum=1,
    flags=(
        (
            "blkio-weight", "", "uint16",
            "Block IO (relative weight), between 10 and 1000, or 0 to disable",
            "0", NOT_BUILT,
        ),
        ("cpu-period", "", "int", "Limit CPU CFS (Completely Fair Scheduler) period", "", NOT_BUILT),
        ("cpu-quota", "", "int", "Limit CPU CFS (Completely Fair Scheduler) quota", "", NOT_BUILT),
        ("cpu-rt-period", "", "int", "Limit the CPU real-time period in microseconds", "", NOT_BUILT),
        ("cpu-rt-runtime", "", "int", "Limit the CPU real-time runtime in microseconds", "", NOT_BUILT),
        ("cpu-shares", "c", "int", "CPU shares (relative weight)", "", NOT_BUILT),
        ("cpus", "", "decimal", "Number of CPUs", "", NOT_BUILT),
        ("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)", "", NOT_BUILT),
        ("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)", "", NOT_BUILT),
        ("memory", "m", "bytes", "Memory limit", "", NOT_BUILT),
        ("memory-reservation", "", "bytes", "Memory soft limit", "", NOT_BUILT),
        (
            "memory-swap", "", "bytes",
            "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
            "", NOT_BUILT,
        ),
        ("pids-limit", "", "int", "Tune container pids limit (set -1 for unlimited)", "", NOT_BUILT),
        ("restart", "", "string", "Restart policy to apply when a container exits", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)
