"""`drift-wm lineage`: which models a run came from, and how far each moved from its parent."""
