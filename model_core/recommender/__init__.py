"""The recommender: a causal Transformer over a user's events, with the user's repeat counters added to the logits.

`model` scores, `runner` serves it, `training` and `evaluation` make and judge a `checkpoint`. A `purchase_log` is
all that it learns from; it knows nothing of Kafka, Redis or any particular data set.
"""
