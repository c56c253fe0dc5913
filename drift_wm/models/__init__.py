"""Learned models: networks, units, world model and behaviour; of environments, planners and data they know nothing."""
