"""Writes replies: a language model that generates text, and what turns messages into its prompts."""
