"""`python -m drift_wm` is `drift-wm`."""

from drift_wm.cli import main

raise SystemExit(main())
