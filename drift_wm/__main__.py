"""`python -m drift_wm`, and the command `drift-wm`."""

from __future__ import annotations

import sys


def main() -> int:
    """The command line, `cli.main`, whose imports take seconds in which Ctrl-C shall not print a traceback."""
    try:
        from drift_wm import cli
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; nothing was written\n")
        return 130
    return cli.main()


if __name__ == "__main__":
    raise SystemExit(main())
