"""Heat maps, and how they agree with annotations."""
