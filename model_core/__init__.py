"""The worker: one process per device, requests in, model results out. Knows nothing of Kafka, Faust or Redis."""
