"""The stages of the pipeline; `pipeline.py` chains them.

| stage | takes | gives | state kept per source |
|---|---|---|---|
| `decode` | bytes cut anywhere | text cut anywhere | the encoding, lines whose encoding is not decided, repair counts |
| `assemble` | text cut anywhere | whole lines | the unfinished line, counts of cut lines |
| `wrappers` | whole lines | lines without what collectors put around them, by service | the first lines, then the decision |
| `redact` | lines | lines without secrets and identities | whether a private key or a dump is open, counts |
| `rules` | redacted lines | evidence of hand-written rules | first line and count of each rule |
| `normalise` | redacted lines | masked lines | none |
| `template` | key text of a masked line | template key | none |
| `detect` | keys, surprises of `next_key` | anomaly score, anomalies | first line and count of each key |
| `next_key` | keys | lines that came where others were likelier | last keys, strongest surprises |
| `procedures` | lines, masked and redacted | failed UEs, label scores, evidence per line | steps and trouble of each UE |
| `fold` | masked lines | the lines that classifiers read | hashes of the lines seen |
| `terms` | words of folded lines | label scores, evidence per line | first line of each known term |
| `charcnn` | characters of folded lines | label scores, evidence per line | maximum and line of each feature, last lines |
| `classify` | scores of classifiers and procedures | their sum, by the shares of the bundle | none of its own |
| `early_stop` | known terms that came | whether the run is certain to fail | none of its own |
| `reduce` | the redacted text at the end of the run, evidence, anomalies | the lines people read | none |
| `verdict` | scores, rules, what is known of the input | label, confidence, doubts | none |

A stage never imports another stage. State is bounded, whatever the length of the run.
"""
