"""Hop 3: what is known of a user, in Redis, and the one script that changes it."""
