"""How requests become batches, and batches become answers: the policy (pure) and the two threads that apply it."""
