"""Docker's managed plugins."""

from __future__ import annotations

from tiffin.cli.command import JSON_FORMAT, TABLE_FORMAT, Command

NOT_BUILT = "refused: managed plugins need dockerd"

# fmt: off
PLUGIN_CREATE = Command(
    spellings=("plugin create",),
    usage="[OPTIONS] PLUGIN PLUGIN-DATA-DIR",
    short=(
        "Create a plugin from a rootfs and configuration. "
        "Plugin data directory must contain config.json and rootfs directory."
    ),
    minimum=2,
    flags=(
        ("compress", "", "bool", "Compress the context using gzip", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

PLUGIN_DISABLE = Command(
    spellings=("plugin disable",),
    usage="[OPTIONS] PLUGIN",
    short="Disable a plugin",
    minimum=1,
    maximum=1,
    flags=(
        ("force", "f", "bool", "Force the disable of an active plugin", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

PLUGIN_ENABLE = Command(
    spellings=("plugin enable",),
    usage="[OPTIONS] PLUGIN",
    short="Enable a plugin",
    minimum=1,
    maximum=1,
    flags=(
        ("timeout", "", "int", "HTTP client timeout (in seconds)", "30", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

PLUGIN_INSPECT = Command(
    spellings=("plugin inspect",),
    usage="[OPTIONS] PLUGIN [PLUGIN...]",
    short="Display detailed information on one or more plugins",
    minimum=1,
    flags=(
        ("format", "f", "string", JSON_FORMAT, "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

PLUGIN_INSTALL = Command(
    spellings=("plugin install",),
    usage="[OPTIONS] PLUGIN [KEY=VALUE...]",
    short="Install a plugin",
    minimum=1,
    flags=(
        ("alias", "", "string", "Local name for plugin", "", NOT_BUILT),
        ("disable", "", "bool", "Do not enable the plugin on install", "", NOT_BUILT),
        ("disable-content-trust", "", "bool", "Skip image verification", "true", NOT_BUILT),
        (
            "grant-all-permissions", "", "bool",
            "Grant all permissions necessary to run the plugin",
            "", NOT_BUILT,
        ),
    ),
    status=NOT_BUILT,
)

PLUGIN_LS = Command(
    spellings=("plugin ls", "plugin list"),
    usage="[OPTIONS]",
    short="List plugins",
    maximum=0,
    flags=(
        ("filter", "f", "filter", 'Provide filter values (e.g. "enabled=true")', "", NOT_BUILT),
        ("format", "", "string", TABLE_FORMAT, "", NOT_BUILT),
        ("no-trunc", "", "bool", "Don't truncate output", "", NOT_BUILT),
        ("quiet", "q", "bool", "Only display plugin IDs", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

PLUGIN_PUSH = Command(
    spellings=("plugin push",),
    usage="[OPTIONS] PLUGIN[:TAG]",
    short="Push a plugin to a registry",
    minimum=1,
    maximum=1,
    flags=(
        ("disable-content-trust", "", "bool", "Skip image signing", "true", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

PLUGIN_RM = Command(
    spellings=("plugin rm", "plugin remove"),
    usage="[OPTIONS] PLUGIN [PLUGIN...]",
    short="Remove one or more plugins",
    minimum=1,
    flags=(
        ("force", "f", "bool", "Force the removal of an active plugin", "", NOT_BUILT),
    ),
    status=NOT_BUILT,
)

PLUGIN_SET = Command(
    spellings=("plugin set",),
    usage="PLUGIN KEY=VALUE [KEY=VALUE...]",
    short="Change settings for a plugin",
    minimum=2,
    status=NOT_BUILT,
)

PLUGIN_UPGRADE = Command(
    spellings=("plugin upgrade",),
    usage="[OPTIONS] PLUGIN [REMOTE]",
    short="Upgrade an existing plugin",
    minimum=1,
    maximum=2,
    flags=(
        ("disable-content-trust", "", "bool", "Skip image verification", "true", NOT_BUILT),
        (
            "grant-all-permissions", "", "bool",
            "Grant all permissions necessary to run the plugin",
            "", NOT_BUILT,
        ),
        (
            "skip-remote-check", "", "bool",
            "Do not check if specified remote plugin matches existing plugin image",
            "", NOT_BUILT,
        ),
    ),
    status=NOT_BUILT,
)
