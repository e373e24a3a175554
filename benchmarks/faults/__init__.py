"""The fault ledger: events through the real agents while things break, and an account of every one of them."""
