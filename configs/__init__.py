"""Configuration: the dataclass schema and the YAML groups that Hydra composes at the command line."""
