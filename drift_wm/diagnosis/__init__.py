"""Does a world model tell the truth? The questions that `drift-wm diagnose` asks, a file each.

`situations` draws recorded situations and samples models and simulators in them; `open_loop`, `distribution`, `value`
and `uncertainty` measure; `questions` asks everything in order. All of it takes any `WorldModel`.
"""
