"""The evidence: real encoders scored once each, and tables that are pure functions of what was found.

python -m benchmarks.evidence.score     # one run per encoder and data set, kept under out/evidence
python -m benchmarks.evidence.judge     # every per-sample score, and Q-Score in other forms
python -m benchmarks.evidence.tables    # docs/evidence/*.md
"""
