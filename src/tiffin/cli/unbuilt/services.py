"""Swarm's services."""

from __future__ import annotations

from tiffin.cli.command import JSON_FORMAT, TABLE_FORMAT, Command

NOT_BUILT = "refused: tiffin is no swarm node"

# fmt: off
SERVICE_CREATE = Command(
    spellings=("service create",),
    usage="[OPTIONS] IMAGE [COMMAND] [ARG...]",
    short="Create a new service",
    minimum=1,
    flags=(
        ("cap-add", "", "list", "Add Linux capabilities", "", NOT_BUILT),
        ("cap-drop", "", "list", "Drop Linux capabilities", "", NOT_BUILT),
        ("config", "", "config", "Specify configurations to expose to the service", "", NOT_BUILT),
        ("constraint", "", "list", "Placement constraints", "", NOT_BUILT),
        ("container-label", "", "list", "Container labels", "", NOT_BUILT),
        (
            "credential-spec", "", "credential-spec",
            "Credential spec for managed service account (Windows only)",
            "", NOT_BUILT,
        ),
        (
            "detach", "d", "bool",
            "Exit immediately instead of waiting for the service to converge",
            "", NOT_BUILT,
        ),
        ("dns", "", "list", "Set custom DNS servers", "", NOT_BUILT),
        ("dns-option", "", "list", "Set DNS options", "", NOT_BUILT),
        ("dns-search", "", "list", "Set custom DNS search domains", "", NOT_BUILT),
        ("endpoint-mode", "", "string", "Endpoint mode (vip or dnsrr)", "vip", NOT_BUILT),
        ("entrypoint", "", "command", "Overwrite the default ENTRYPOINT of the image", "", NOT_BUILT),
        ("env", "e", "list", "Set environment variables", "", NOT_BUILT),
        ("env-file", "", "list", "Read in a file of environment variables", "", NOT_BUILT),
        ("generic-resource", "", "list", "User defined resources", "", NOT_BUILT),
        ("group", "", "list", "Set one or more supplementary user groups for the container", "", NOT_BUILT),
        ("health-cmd", "", "string", "Command to run to check health", "", NOT_BUILT),
        ("health-interval", "", "duration", "Time between running the check (ms|s|m|h)", "", NOT_BUILT),
        ("health-retries", "", "int", "Consecutive failures needed to report unhealthy", "", NOT_BUILT),
        (
            "health-start-interval", "", "duration",
            "Time between running the check during the start period (ms|s|m|h)",
            "", NOT_BUILT,
        ),
        (
            "health-start-period", "", "duration",
            (
                "Start period for the container to initialize before counting retries towards unstable "
                "(ms|s|m|h)"
            ),
            "", NOT_BUILT,
        ),
        (
            "health-timeout", "", "duration",
            "Maximum time to allow one check to run (ms|s|m|h)",
            "", NOT_BUILT,
        ),
        ("host", "", "list", "Set one or more custom host-to-IP mappings (host:ip)", "", NOT_BUILT),
        ("hostname", "", "string", "Container hostname", "", NOT_BUILT),
        (
            "init", "", "bool",
            "Use an init inside each service container to forward signals and reap processes",
            "", NOT_BUILT,
        ),
        ("isolation", "", "string", "Service container isolation mode", "", NOT_BUILT),
        ("label", "l", "list", "Service labels", "", NOT_BUILT),
        ("limit-cpu", "", "decimal", "Limit CPUs", "", NOT_BUILT),
        ("limit-memory", "", "bytes", "Limit Memory", "", NOT_BUILT),
        ("limit-pids", "", "int", "Limit maximum number of processes (default 0 = unlimited)", "", NOT_BUILT),
        ("log-driver", "", "string", "Logging driver for service", "", NOT_BUILT),
        ("log-opt", "", "list", "Logging driver options", "", NOT_BUILT),
        (
            "max-concurrent", "", "uint",
            "Number of job tasks to run concurrently (default equal to --replicas)",
            "", NOT_BUILT,
        ),
        (
            "mode", "", "string",
            'Service mode ("replicated", "global", "replicated-job", "global-job")',
            "replicated", NOT_BUILT,
        ),
        ("mount", "", "mount", "Attach a filesystem mount to the service", "", NOT_BUILT),
        ("name", "", "string", "Service name", "", NOT_BUILT),
        ("network", "", "network", "Network attachments", "", NOT_BUILT),
        ("no-healthcheck", "", "bool", "Disable any container-specified HEALTHCHECK", "", NOT_BUILT),
        (
            "no-resolve-image", "", "bool",
            "Do not query the registry to resolve image digest and supported platforms",
            "", NOT_BUILT,
        ),
        ("oom-score-adj", "", "int", "Tune host's OOM preferences (-1000 to 1000) ", "", NOT_BUILT),
        ("placement-pref", "", "pref", "Add a placement preference", "", NOT_BUILT),
        ("publish", "p", "port", "Publish a port as a node port", "", NOT_BUILT),
        ("quiet", "q", "bool", "Suppress progress output", "", NOT_BUILT),
        ("read-only", "", "bool", "Mount the container's root filesystem as read only", "", NOT_BUILT),
        ("replicas", "", "uint", "Number of tasks", "", NOT_BUILT),
        (
            "replicas-max-per-node", "", "uint",
            "Maximum number of tasks per node (default 0 = unlimited)",
            "", NOT_BUILT,
        ),
        ("reserve-cpu", "", "decimal", "Reserve CPUs", "", NOT_BUILT),
        ("reserve-memory", "", "bytes", "Reserve Memory", "", NOT_BUILT),
        (
            "restart-condition", "", "string",
            'Restart when condition is met ("none", "on-failure", "any")',
            "any", NOT_BUILT,
        ),
        ("restart-delay", "", "duration", "Delay between restart attempts (ns|us|ms|s|m|h)", "5s", NOT_BUILT),
        ("restart-max-attempts", "", "uint", "Maximum number of restarts before giving up", "", NOT_BUILT),
        (
            "restart-window", "", "duration",
            "Window used to evaluate the restart policy (ns|us|ms|s|m|h)",
            "", NOT_BUILT,
        ),
        ("rollback-delay", "", "duration", "Delay between task rollbacks (ns|us|ms|s|m|h)", "0s", NOT_BUILT),
        (
            "rollback-failure-action", "", "string",
            'Action on rollback failure ("pause", "continue")',
            "pause", NOT_BUILT,
        ),
        (
            "rollback-max-failure-ratio", "", "float",
            "Failure rate to tolerate during a rollback",
            "0", NOT_BUILT,
        ),
        (
            "rollback-monitor", "", "duration",
            "Duration after each task rollback to monitor for failure (ns|us|ms|s|m|h)",
            "5s", NOT_BUILT,
        ),
        (
            "rollback-order", "", "string",
            'Rollback order ("start-first", "stop-first")',
            "stop-first", NOT_BUILT,
        ),
        (
            "rollback-parallelism", "", "uint",
            "Maximum number of tasks rolled back simultaneously (0 to roll back all at once)",
            "1", NOT_BUILT,
        ),
        ("secret", "", "secret", "Specify secrets to expose to the service", "", NOT_BUILT),
        (
            "stop-grace-period", "", "duration",
            "Time to wait before force killing a container (ns|us|ms|s|m|h)",
            "10s", NOT_BUILT,
        ),
        ("stop-signal", "", "string", "Signal to stop the container", "", NOT_BUILT),
        ("sysctl", "", "list", "Sysctl options", "", NOT_BUILT),
        ("tty", "t", "bool", "Allocate a pseudo-TTY", "", NOT_BUILT),
        ("ulimit", "", "ulimit", "Ulimit options", "[]", NOT_BUILT),
        ("update-delay", "", "duration", "Delay between updates (ns|us|ms|s|m|h)", "0s", NOT_BUILT),
        (
            "update-failure-action", "", "string",
            'Action on update failure ("pause", "continue", "rollback")',
            "pause", NOT_BUILT,
        ),
        (
            "update-max-failure-ratio", "", "float",
            "Failure rate to tolerate during an update",
            "0", NOT_BUILT,
        ),
        (
            "update-monitor", "", "duration",
            "Duration after each task update to monitor for failure (ns|us|ms|s|m|h)",
            "5s", NOT_BUILT,
        ),
        ("update-order", "", "string", 'Update order ("start-first", "stop-first")', "stop-first", NOT_BUILT),
        (
            "update-parallelism", "", "uint",
            "Maximum number of tasks updated simultaneously (0 to update all at once)",
            "1", NOT_BUILT,
        ),
        ("user", "u", "string", "Username or UID (format: <name|uid>[:<group|gid>])", "", NOT_BUILT),
        (
            "with-registry-auth", "", "bool",
            "Send registry authentication details to swarm agents",
            "", NOT_BUILT,
        ),
        ("workdir", "w", "string", "Working directory inside the container", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SERVICE_INSPECT = Command(
    spellings=("service inspect",),
    usage="[OPTIONS] SERVICE [SERVICE...]",
    short="Display detailed information on one or more services",
    minimum=1,
    flags=(
        ("format", "f", "string", JSON_FORMAT, "", NOT_BUILT),
        ("pretty", "", "bool", "Print the information in a human friendly format", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SERVICE_LOGS = Command(
    spellings=("service logs",),
    usage="[OPTIONS] SERVICE|TASK",
    short="Fetch the logs of a service or task",
    minimum=1,
    maximum=1,
    flags=(
        ("details", "", "bool", "Show extra details provided to logs", "", NOT_BUILT),
        ("follow", "f", "bool", "Follow log output", "", NOT_BUILT),
        ("no-resolve", "", "bool", "Do not map IDs to Names in output", "", NOT_BUILT),
        ("no-task-ids", "", "bool", "Do not include task IDs in output", "", NOT_BUILT),
        ("no-trunc", "", "bool", "Do not truncate output", "", NOT_BUILT),
        ("raw", "", "bool", "Do not neatly format logs", "", NOT_BUILT),
        (
            "since", "", "string",
            (
                'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 '
                "minutes)"
            ),
            "", NOT_BUILT,
        ),
        ("tail", "n", "string", "Number of lines to show from the end of the logs", "all", NOT_BUILT),
        ("timestamps", "t", "bool", "Show timestamps", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SERVICE_LS = Command(
    spellings=("service ls", "service list"),
    usage="[OPTIONS]",
    short="List services",
    maximum=0,
    flags=(
        ("filter", "f", "filter", "Filter output based on conditions provided", "", NOT_BUILT),
        ("format", "", "string", TABLE_FORMAT, "", NOT_BUILT),
        ("quiet", "q", "bool", "Only display IDs", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SERVICE_PS = Command(
    spellings=("service ps",),
    usage="[OPTIONS] SERVICE [SERVICE...]",
    short="List the tasks of one or more services",
    minimum=1,
    flags=(
        ("filter", "f", "filter", "Filter output based on conditions provided", "", NOT_BUILT),
        ("format", "", "string", "Pretty-print tasks using a Go template", "", NOT_BUILT),
        ("no-resolve", "", "bool", "Do not map IDs to Names", "", NOT_BUILT),
        ("no-trunc", "", "bool", "Do not truncate output", "", NOT_BUILT),
        ("quiet", "q", "bool", "Only display task IDs", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SERVICE_RM = Command(
    spellings=("service rm", "service remove"),
    usage="SERVICE [SERVICE...]",
    short="Remove one or more services",
    minimum=1,
    status=NOT_BUILT,
)

SERVICE_ROLLBACK = Command(
    spellings=("service rollback",),
    usage="[OPTIONS] SERVICE",
    short="Revert changes to a service's configuration",
    minimum=1,
    maximum=1,
    flags=(
        (
            "detach", "d", "bool",
            "Exit immediately instead of waiting for the service to converge",
            "", NOT_BUILT,
        ),
        ("quiet", "q", "bool", "Suppress progress output", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

SERVICE_SCALE = Command(
    spellings=("service scale",),
    usage="SERVICE=REPLICAS [SERVICE=REPLICAS...]",
    short="Scale one or multiple replicated services",
    minimum=1,
    flags=(
        (
            "detach", "d", "bool",
            "Exit immediately instead of waiting for the service to converge",
            "", NOT_BUILT,
        ),
    ),
    status=NOT_BUILT,
)

SERVICE_UPDATE = Command(
    spellings=("service update",),
    usage="[OPTIONS] SERVICE",
    short="Update a service",
    minimum=1,
    maximum=1,
    flags=(
        ("args", "", "command", "Service command args", "", NOT_BUILT),
        ("cap-add", "", "list", "Add Linux capabilities", "", NOT_BUILT),
        ("cap-drop", "", "list", "Drop Linux capabilities", "", NOT_BUILT),
        ("config-add", "", "config", "Add or update a config file on a service", "", NOT_BUILT),
        ("config-rm", "", "list", "Remove a configuration file", "", NOT_BUILT),
        ("constraint-add", "", "list", "Add or update a placement constraint", "", NOT_BUILT),
        ("constraint-rm", "", "list", "Remove a constraint", "", NOT_BUILT),
        ("container-label-add", "", "list", "Add or update a container label", "", NOT_BUILT),
        ("container-label-rm", "", "list", "Remove a container label by its key", "", NOT_BUILT),
        (
            "credential-spec", "", "credential-spec",
            "Credential spec for managed service account (Windows only)",
            "", NOT_BUILT,
        ),
        (
            "detach", "d", "bool",
            "Exit immediately instead of waiting for the service to converge",
            "", NOT_BUILT,
        ),
        ("dns-add", "", "list", "Add or update a custom DNS server", "", NOT_BUILT),
        ("dns-option-add", "", "list", "Add or update a DNS option", "", NOT_BUILT),
        ("dns-option-rm", "", "list", "Remove a DNS option", "", NOT_BUILT),
        ("dns-rm", "", "list", "Remove a custom DNS server", "", NOT_BUILT),
        ("dns-search-add", "", "list", "Add or update a custom DNS search domain", "", NOT_BUILT),
        ("dns-search-rm", "", "list", "Remove a DNS search domain", "", NOT_BUILT),
        ("endpoint-mode", "", "string", "Endpoint mode (vip or dnsrr)", "", NOT_BUILT),
        ("entrypoint", "", "command", "Overwrite the default ENTRYPOINT of the image", "", NOT_BUILT),
        ("env-add", "", "list", "Add or update an environment variable", "", NOT_BUILT),
        ("env-rm", "", "list", "Remove an environment variable", "", NOT_BUILT),
        ("force", "", "bool", "Force update even if no changes require it", "", NOT_BUILT),
        ("generic-resource-add", "", "list", "Add a Generic resource", "", NOT_BUILT),
        ("generic-resource-rm", "", "list", "Remove a Generic resource", "", NOT_BUILT),
        (
            "group-add", "", "list",
            "Add an additional supplementary user group to the container",
            "", NOT_BUILT,
        ),
        (
            "group-rm", "", "list",
            "Remove a previously added supplementary user group from the container",
            "", NOT_BUILT,
        ),
        ("health-cmd", "", "string", "Command to run to check health", "", NOT_BUILT),
        ("health-interval", "", "duration", "Time between running the check (ms|s|m|h)", "", NOT_BUILT),
        ("health-retries", "", "int", "Consecutive failures needed to report unhealthy", "", NOT_BUILT),
        (
            "health-start-interval", "", "duration",
            "Time between running the check during the start period (ms|s|m|h)",
            "", NOT_BUILT,
        ),
        (
            "health-start-period", "", "duration",
            (
                "Start period for the container to initialize before counting retries towards unstable "
                "(ms|s|m|h)"
            ),
            "", NOT_BUILT,
        ),
        (
            "health-timeout", "", "duration",
            "Maximum time to allow one check to run (ms|s|m|h)",
            "", NOT_BUILT,
        ),
        ("host-add", "", "list", 'Add a custom host-to-IP mapping ("host:ip")', "", NOT_BUILT),
        ("host-rm", "", "list", 'Remove a custom host-to-IP mapping ("host:ip")', "", NOT_BUILT),
        ("hostname", "", "string", "Container hostname", "", NOT_BUILT),
        ("image", "", "string", "Service image tag", "", NOT_BUILT),
        (
            "init", "", "bool",
            "Use an init inside each service container to forward signals and reap processes",
            "", NOT_BUILT,
        ),
        ("isolation", "", "string", "Service container isolation mode", "", NOT_BUILT),
        ("label-add", "", "list", "Add or update a service label", "", NOT_BUILT),
        ("label-rm", "", "list", "Remove a label by its key", "", NOT_BUILT),
        ("limit-cpu", "", "decimal", "Limit CPUs", "", NOT_BUILT),
        ("limit-memory", "", "bytes", "Limit Memory", "", NOT_BUILT),
        ("limit-pids", "", "int", "Limit maximum number of processes (default 0 = unlimited)", "", NOT_BUILT),
        ("log-driver", "", "string", "Logging driver for service", "", NOT_BUILT),
        ("log-opt", "", "list", "Logging driver options", "", NOT_BUILT),
        (
            "max-concurrent", "", "uint",
            "Number of job tasks to run concurrently (default equal to --replicas)",
            "", NOT_BUILT,
        ),
        ("mount-add", "", "mount", "Add or update a mount on a service", "", NOT_BUILT),
        ("mount-rm", "", "list", "Remove a mount by its target path", "", NOT_BUILT),
        ("network-add", "", "network", "Add a network", "", NOT_BUILT),
        ("network-rm", "", "list", "Remove a network", "", NOT_BUILT),
        ("no-healthcheck", "", "bool", "Disable any container-specified HEALTHCHECK", "", NOT_BUILT),
        (
            "no-resolve-image", "", "bool",
            "Do not query the registry to resolve image digest and supported platforms",
            "", NOT_BUILT,
        ),
        ("oom-score-adj", "", "int", "Tune host's OOM preferences (-1000 to 1000) ", "", NOT_BUILT),
        ("placement-pref-add", "", "pref", "Add a placement preference", "", NOT_BUILT),
        ("placement-pref-rm", "", "pref", "Remove a placement preference", "", NOT_BUILT),
        ("publish-add", "", "port", "Add or update a published port", "", NOT_BUILT),
        ("publish-rm", "", "port", "Remove a published port by its target port", "", NOT_BUILT),
        ("quiet", "q", "bool", "Suppress progress output", "", NOT_BUILT),
        ("read-only", "", "bool", "Mount the container's root filesystem as read only", "", NOT_BUILT),
        ("replicas", "", "uint", "Number of tasks", "", NOT_BUILT),
        (
            "replicas-max-per-node", "", "uint",
            "Maximum number of tasks per node (default 0 = unlimited)",
            "", NOT_BUILT,
        ),
        ("reserve-cpu", "", "decimal", "Reserve CPUs", "", NOT_BUILT),
        ("reserve-memory", "", "bytes", "Reserve Memory", "", NOT_BUILT),
        (
            "restart-condition", "", "string",
            'Restart when condition is met ("none", "on-failure", "any")',
            "", NOT_BUILT,
        ),
        ("restart-delay", "", "duration", "Delay between restart attempts (ns|us|ms|s|m|h)", "", NOT_BUILT),
        ("restart-max-attempts", "", "uint", "Maximum number of restarts before giving up", "", NOT_BUILT),
        (
            "restart-window", "", "duration",
            "Window used to evaluate the restart policy (ns|us|ms|s|m|h)",
            "", NOT_BUILT,
        ),
        ("rollback", "", "bool", "Rollback to previous specification", "", NOT_BUILT),
        ("rollback-delay", "", "duration", "Delay between task rollbacks (ns|us|ms|s|m|h)", "", NOT_BUILT),
        (
            "rollback-failure-action", "", "string",
            'Action on rollback failure ("pause", "continue")',
            "", NOT_BUILT,
        ),
        (
            "rollback-max-failure-ratio", "", "float",
            "Failure rate to tolerate during a rollback",
            "", NOT_BUILT,
        ),
        (
            "rollback-monitor", "", "duration",
            "Duration after each task rollback to monitor for failure (ns|us|ms|s|m|h)",
            "", NOT_BUILT,
        ),
        ("rollback-order", "", "string", 'Rollback order ("start-first", "stop-first")', "", NOT_BUILT),
        (
            "rollback-parallelism", "", "uint",
            "Maximum number of tasks rolled back simultaneously (0 to roll back all at once)",
            "", NOT_BUILT,
        ),
        ("secret-add", "", "secret", "Add or update a secret on a service", "", NOT_BUILT),
        ("secret-rm", "", "list", "Remove a secret", "", NOT_BUILT),
        (
            "stop-grace-period", "", "duration",
            "Time to wait before force killing a container (ns|us|ms|s|m|h)",
            "", NOT_BUILT,
        ),
        ("stop-signal", "", "string", "Signal to stop the container", "", NOT_BUILT),
        ("sysctl-add", "", "list", "Add or update a Sysctl option", "", NOT_BUILT),
        ("sysctl-rm", "", "list", "Remove a Sysctl option", "", NOT_BUILT),
        ("tty", "t", "bool", "Allocate a pseudo-TTY", "", NOT_BUILT),
        ("ulimit-add", "", "ulimit", "Add or update a ulimit option", "[]", NOT_BUILT),
        ("ulimit-rm", "", "list", "Remove a ulimit option", "", NOT_BUILT),
        ("update-delay", "", "duration", "Delay between updates (ns|us|ms|s|m|h)", "", NOT_BUILT),
        (
            "update-failure-action", "", "string",
            'Action on update failure ("pause", "continue", "rollback")',
            "", NOT_BUILT,
        ),
        ("update-max-failure-ratio", "", "float", "Failure rate to tolerate during an update", "", NOT_BUILT),
        (
            "update-monitor", "", "duration",
            "Duration after each task update to monitor for failure (ns|us|ms|s|m|h)",
            "", NOT_BUILT,
        ),
        ("update-order", "", "string", 'Update order ("start-first", "stop-first")', "", NOT_BUILT),
        (
            "update-parallelism", "", "uint",
            "Maximum number of tasks updated simultaneously (0 to update all at once)",
            "", NOT_BUILT,
        ),
        ("user", "u", "string", "Username or UID (format: <name|uid>[:<group|gid>])", "", NOT_BUILT),
        (
            "with-registry-auth", "", "bool",
            "Send registry authentication details to swarm agents",
            "", NOT_BUILT,
        ),
        ("workdir", "w", "string", "Working directory inside the container", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)
