"""Conditional generators p(y | c), one file each, all on the backbone of `drift_wm.nets`."""
