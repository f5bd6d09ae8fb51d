"""What `lossatlas bench` measures: ratios, taken in one run, of networks with random weights on random data.

A part is a module with `run(…) -> rows`; a row is a mapping from the heading of a column to a text, a number or a `Spread`.
`parts` lists them, `table` writes them down, `system` runs a whole Loss Atlas beside the bare core.
"""
