"""`drift-wm bench`: a grid of online runs over tasks, models, planners and seeds."""
