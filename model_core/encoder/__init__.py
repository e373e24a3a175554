"""The text encoder: what a message is about, in English and Chinese, and where it lies among other texts."""
