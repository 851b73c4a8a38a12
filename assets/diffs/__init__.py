"""What a diff may hold and what a patched tree must be, and git itself."""
