"""Support replies, away from production: a simulated shop, training, and evaluation."""
