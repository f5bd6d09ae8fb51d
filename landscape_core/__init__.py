"""The numerical core: requests, results, checkpoint reading, evaluation and file formats. Knows neither web nor queue."""
