"""How customers word what they want: the wordings of messages, and the grammar that they are written in."""
