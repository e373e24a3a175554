"""The command line and what runs around the agents and the worker: local stack, supervisor, datasets, replay, demo."""
