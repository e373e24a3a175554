"""The peers: the same work done by other stream processors for Python, and by bare clients."""
