"""The core in a process of its own: messages, progress, cancel."""
