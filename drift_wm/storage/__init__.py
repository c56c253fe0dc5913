"""What is kept on disk: run folders, checkpoints, metrics, files that appear whole, and results of a pool of jobs."""
