"""What is kept on disk: run folders, checkpoints, metrics, and files that appear whole."""
