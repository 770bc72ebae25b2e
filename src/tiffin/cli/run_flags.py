"""The flags that `run` and `create` share, as data (see cli/command.py for the columns)."""

from __future__ import annotations

from tiffin.cli.command import DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.command import Flag

NOT_YET = "refused: not built yet"
DEVICES = "differs: CDI devices are read from JSON files, not from YAML"
GPUS = "differs: through CDI only; the driver is nvidia's, its capabilities are what its CDI file grants"
LOGGING = "differs: json-file, local (kept in json-file's format) and none"
ANNOTATIONS = "differs: names that change what the runtime does are refused"
WINDOWS = "refused: it is for Windows containers"
SECURITY = "differs: no credentialspec; SELinux labels change nothing"
STORAGE = "refused: overlay has no options of one container; its size is bounded by xfs project quotas only"
PROPAGATION = "differs: with shared or rshared, what the container mounts does not reach the host"
DRIVERS = "differs: local is the only one"
QUOTAS = (
    "refused: overlayfs has no sizes of its own; put the store on a file system that is as large as wanted"
)
CONTENT_TRUST = "differs: accepted, as there is no content trust to turn off"

# fmt: off
SHARED: tuple[Flag, ...] = (
    ("add-host", "", "list", "Add a custom host-to-IP mapping (host:ip)", "", DONE),
    (
        "annotation", "", "map",
        "Add an annotation to the container (passed through to the OCI runtime)",
        "map[]", ANNOTATIONS,
    ),
    ("attach", "a", "list", "Attach to STDIN, STDOUT or STDERR", "", DONE),
    (
        "blkio-weight", "", "uint16",
        "Block IO (relative weight), between 10 and 1000, or 0 to disable",
        "0", DONE,
    ),
    ("blkio-weight-device", "", "list", "Block IO weight (relative device weight)", "[]", DONE),
    ("cap-add", "", "list", "Add Linux capabilities", "", DONE),
    ("cap-drop", "", "list", "Drop Linux capabilities", "", DONE),
    ("cgroup-parent", "", "string", "Optional parent cgroup for the container", "", DONE),
    (
        "cgroupns", "", "string",
        (
            "Cgroup namespace to use (host|private)\n"
            "'host':    Run the container in the Docker host's cgroup namespace\n"
            "'private': Run the container in its own private cgroup namespace\n"
            "'':        Use the cgroup namespace as configured by the\n"
            "           default-cgroupns-mode option on the daemon (default)"
        ),
        "", DONE,
    ),
    ("cidfile", "", "string", "Write the container ID to the file", "", DONE),
    ("cpu-count", "", "int", "CPU count (Windows only)", "", WINDOWS),
    ("cpu-percent", "", "int", "CPU percent (Windows only)", "", WINDOWS),
    ("cpu-period", "", "int", "Limit CPU CFS (Completely Fair Scheduler) period", "", DONE),
    ("cpu-quota", "", "int", "Limit CPU CFS (Completely Fair Scheduler) quota", "", DONE),
    ("cpu-rt-period", "", "int", "Limit CPU real-time period in microseconds", "", DONE),
    ("cpu-rt-runtime", "", "int", "Limit CPU real-time runtime in microseconds", "", DONE),
    ("cpu-shares", "c", "int", "CPU shares (relative weight)", "", DONE),
    ("cpus", "", "decimal", "Number of CPUs", "", DONE),
    ("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)", "", DONE),
    ("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)", "", DONE),
    ("device", "", "list", "Add a host device to the container", "", DEVICES),
    ("device-cgroup-rule", "", "list", "Add a rule to the cgroup allowed devices list", "", DONE),
    ("device-read-bps", "", "list", "Limit read rate (bytes per second) from a device", "[]", DONE),
    ("device-read-iops", "", "list", "Limit read rate (IO per second) from a device", "[]", DONE),
    ("device-write-bps", "", "list", "Limit write rate (bytes per second) to a device", "[]", DONE),
    ("device-write-iops", "", "list", "Limit write rate (IO per second) to a device", "[]", DONE),
    ("disable-content-trust", "", "bool", "Skip image verification", "true", CONTENT_TRUST),
    ("dns", "", "list", "Set custom DNS servers", "", DONE),
    ("dns-option", "", "list", "Set DNS options", "", DONE),
    ("dns-search", "", "list", "Set custom DNS search domains", "", DONE),
    ("domainname", "", "string", "Container NIS domain name", "", DONE),
    ("egress", "", "list", "Reach nothing but allow=NAME|NETWORK[:PORT],...; or none", "", DONE),
    ("entrypoint", "", "string", "Overwrite the default ENTRYPOINT of the image", "", DONE),
    ("env", "e", "list", "Set environment variables", "", DONE),
    ("env-file", "", "list", "Read in a file of environment variables", "", DONE),
    ("expose", "", "list", "Expose a port or a range of ports", "", DONE),
    ("gpus", "", "gpu-request", "GPU devices to add to the container ('all' to pass all GPUs)", "", GPUS),
    ("group-add", "", "list", "Add additional groups to join", "", DONE),
    ("health-cmd", "", "string", "Command to run to check health", "", DONE),
    ("health-interval", "", "duration", "Time between running the check (ms|s|m|h)", "0s", DONE),
    ("health-retries", "", "int", "Consecutive failures needed to report unhealthy", "", DONE),
    (
        "health-start-interval", "", "duration",
        "Time between running the check during the start period (ms|s|m|h)",
        "0s", DONE,
    ),
    (
        "health-start-period", "", "duration",
        (
            "Start period for the container to initialize before starting health-retries countdown "
            "(ms|s|m|h)"
        ),
        "0s", DONE,
    ),
    ("health-timeout", "", "duration", "Maximum time to allow one check to run (ms|s|m|h)", "0s", DONE),
    ("hostname", "h", "string", "Container host name", "", DONE),
    (
        "init", "", "bool",
        "Run an init inside the container that forwards signals and reaps processes",
        "", DONE,
    ),
    ("interactive", "i", "bool", "Keep STDIN open even if not attached", "", DONE),
    (
        "io-maxbandwidth", "", "bytes",
        "Maximum IO bandwidth limit for the system drive (Windows only)",
        "", WINDOWS,
    ),
    ("io-maxiops", "", "uint", "Maximum IOps limit for the system drive (Windows only)", "", WINDOWS),
    ("ip", "", "string", "IPv4 address (e.g., 172.30.100.104)", "", DONE),
    ("ip6", "", "string", "IPv6 address (e.g., 2001:db8::33)", "", DONE),
    ("ipc", "", "string", "IPC mode to use", "", DONE),
    ("isolation", "", "string", "Container isolation technology", "", DONE),
    (
        "kernel-memory", "", "bytes",
        "Kernel memory limit",
        "", "refused: kernel memory limits are gone from Linux",
    ),
    ("label", "l", "list", "Set meta data on a container", "", DONE),
    ("label-file", "", "list", "Read in a line delimited file of labels", "", DONE),
    ("link", "", "list", "Add link to another container", "", DONE),
    ("link-local-ip", "", "list", "Container IPv4/IPv6 link-local addresses", "", DONE),
    ("log-driver", "", "string", "Logging driver for the container", "", LOGGING),
    ("log-opt", "", "list", "Log driver options", "", DONE),
    ("mac-address", "", "string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)", "", DONE),
    ("memory", "m", "bytes", "Memory limit", "", DONE),
    ("memory-reservation", "", "bytes", "Memory soft limit", "", DONE),
    (
        "memory-swap", "", "bytes",
        "Swap limit equal to memory plus swap: '-1' to enable unlimited swap",
        "", DONE,
    ),
    ("memory-swappiness", "", "int", "Tune container memory swappiness (0 to 100)", "-1", DONE),
    ("mount", "", "mount", "Attach a filesystem mount to the container", "", PROPAGATION),
    ("name", "", "string", "Assign a name to the container", "", DONE),
    ("network", "", "network", "Connect a container to a network", "", DONE),
    ("network-alias", "", "list", "Add network-scoped alias for the container", "", DONE),
    ("no-healthcheck", "", "bool", "Disable any container-specified HEALTHCHECK", "", DONE),
    ("on-unhealthy", "", "string", "If unhealthy: none|restart|kill", "", DONE),
    ("oom-kill-disable", "", "bool", "Disable OOM Killer", "", DONE),
    ("oom-score-adj", "", "int", "Tune host's OOM preferences (-1000 to 1000)", "", DONE),
    ("pid", "", "string", "PID namespace to use", "", DONE),
    ("pids-limit", "", "int", "Tune container pids limit (set -1 for unlimited)", "", DONE),
    ("platform", "", "string", "Set platform if server is multi-platform capable", "", DONE),
    ("privileged", "", "bool", "Give extended privileges to this container", "", DONE),
    ("publish", "p", "list", "Publish a container's port(s) to the host", "", DONE),
    ("publish-all", "P", "bool", "Publish all exposed ports to random ports", "", DONE),
    ("quiet", "q", "bool", "Suppress the pull output", "", DONE),
    ("read-only", "", "bool", "Mount the container's root filesystem as read only", "", DONE),
    ("restart", "", "string", "Restart policy to apply when a container exits", "no", DONE),
    (
        "rm", "", "bool",
        "Automatically remove the container and its associated anonymous volumes when it exits",
        "", DONE,
    ),
    ("runtime", "", "string", "Runtime to use for this container", "", DONE),
    ("security-opt", "", "list", "Security Options", "", SECURITY),
    ("shm-size", "", "bytes", "Size of /dev/shm", "", DONE),
    ("stop-signal", "", "string", "Signal to stop the container", "", DONE),
    ("stop-timeout", "", "int", "Timeout (in seconds) to stop a container", "", DONE),
    ("storage-opt", "", "list", "Storage driver options for the container", "", STORAGE),
    ("sysctl", "", "map", "Sysctl options", "map[]", DONE),
    ("tmpfs", "", "list", "Mount a tmpfs directory", "", DONE),
    ("tty", "t", "bool", "Allocate a pseudo-TTY", "", DONE),
    ("ulimit", "", "ulimit", "Ulimit options", "[]", DONE),
    (
        "use-api-socket", "", "bool",
        "Bind mount Docker API socket and required auth",
        "", "refused: tiffin has no API socket yet",
    ),
    ("user", "u", "string", "Username or UID (format: <name|uid>[:<group|gid>])", "", DONE),
    ("userns", "", "string", "User namespace to use", "", DONE),
    ("uts", "", "string", "UTS namespace to use", "", DONE),
    ("volume", "v", "list", "Bind mount a volume", "", PROPAGATION),
    ("volume-driver", "", "string", "Optional volume driver for the container", "", DRIVERS),
    ("volumes-from", "", "list", "Mount volumes from the specified container(s)", "", DONE),
    ("workdir", "w", "string", "Working directory inside the container", "", DONE),
)
RUN: tuple[Flag, ...] = (
    *SHARED,
    ("detach", "d", "bool", "Run container in background and print container ID", "", DONE),
    ("detach-keys", "", "string", "Override the key sequence for detaching a container", "", DONE),
    ("pull", "", "string", 'Pull image before running ("always", "missing", "never")', "missing", DONE),
    ("sig-proxy", "", "bool", "Proxy received signals to the process", "true", DONE),
)
CREATE: tuple[Flag, ...] = (
    *SHARED,
    ("pull", "", "string", 'Pull image before creating ("always", "|missing", "never")', "missing", DONE),
)
HIDDEN = {"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"}
