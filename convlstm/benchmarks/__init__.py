"""How fast a training step is beside other ways to do it, and what techniques bring."""
