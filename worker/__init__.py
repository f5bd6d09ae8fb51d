"""The queue and what works it off. The app may import `settings`, `blobs`, `job` and `queue`; none of them loads torch."""
