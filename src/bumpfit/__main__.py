"""Start of the command line, `bumpfit` or `python -m bumpfit`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported ends it as quietly as later."""
    try:
        from bumpfit.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("bumpfit: interrupted before anything was done\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
