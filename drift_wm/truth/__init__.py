"""The truth tables: every generator against known laws and the simulator's own Monte-Carlo, in one run."""
