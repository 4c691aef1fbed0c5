"""The zoo: one small ResNet per self-supervised method, trained alike on the same images, and scored alike.

`python -m benchmarks.zoo.train` trains, `python -m benchmarks.zoo.score` prints the table.
"""
