"""The operating system and files of strangers: what is written whole, locked, forked, and believed of a file."""
