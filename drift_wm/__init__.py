"""Drift-trained one-step world models and planning for robots.

The package's own words live in `drift_wm.interfaces`; `drift_wm.cli` is the command line.
"""

__version__ = "0.1.0"
