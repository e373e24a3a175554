"""Rooms of the reply capability: what a support message goes through."""
