"""What the commands that take settings share: KEY=VALUE words over a config file."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from kerneldefs.serving.settings import CONFIG_FILE, Settings


def settings_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of settings; a command adds its own options to it."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings to change")
    parser.add_argument(
        "--config", type=Path, default=CONFIG_FILE, metavar="FILE", help="default: %(default)s"
    )
    return parser


def parse(
    parser: argparse.ArgumentParser, defaults: Iterable[str] = ()
) -> tuple[argparse.Namespace, Settings]:
    """Return the options and the settings; `defaults` are words that the given ones win over."""
    options = parser.parse_intermixed_args()
    return options, Settings.load(options.config, [*defaults, *options.settings])
