"""`drift-wm data`: logged demonstrations looked at, written in robomimic's schema, and acted again."""
