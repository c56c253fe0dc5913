"""`python -m drift_wm`, and the command `drift-wm`."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """The command line, `cli.main`, whose imports take seconds in which Ctrl-C shall not print a traceback.

    It is noted there and heeded after them: raised in the midst of an import, it comes out as other errors.
    """
    interrupts: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # and not ignored, as behind a shell
        signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    from drift_wm import cli

    signal.signal(signal.SIGINT, before)
    if interrupts:
        sys.stderr.write("\ninterrupted; nothing was written\n")
        return 130
    return cli.main()


if __name__ == "__main__":
    raise SystemExit(main())
