"""The stages of the pipeline, in order; `pipeline.py` chains them.

| stage | takes | gives | state kept per source |
|---|---|---|---|
| `assemble` | bytes cut anywhere | whole lines | the unfinished line, repair counts |
| `redact` | lines | lines without secrets and identities | inside a private key or not |
| `normalise` | redacted lines | masked lines | none |
| `template` | key text of a masked line | template key | none |
| `fold` | masked lines | lines worth reading by the classifier | hashes of the lines seen |
| `terms` | words of folded lines | label scores, evidence per line | first line of each known term |
| `charcnn` | characters of folded lines | label scores, evidence per line | maximum and line of each feature, last lines |
| `classify` | what the classifiers say | their pool, by the shares of the bundle | none of its own |
| `next_key` | keys | lines that should not have come where they did | last keys, strongest surprises |
| `detect` | keys, surprises | anomaly score, anomalies | first line and count of each key |
| `rules` | redacted lines | evidence of hand-written rules | first line and count of each rule |
| `reduce` | evidence, anomalies, first lines | the lines people read | none |
| `verdict` | all of these of all sources | one verdict | none |

A stage never imports another stage. State is bounded whatever the length of the run.
"""
