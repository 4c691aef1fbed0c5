"""What an audit is written as: HTML, JSON, CSV, Label Studio, FiftyOne, Embedding Atlas, and the terminal."""
