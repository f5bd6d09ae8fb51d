"""The command line, `lossatlas`."""
