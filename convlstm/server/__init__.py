"""The server of runs: who computes what, and when."""
