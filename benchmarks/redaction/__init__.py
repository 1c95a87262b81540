"""A labelled set for redaction: invented logs with known secrets and identities, and a scorer for tools that find them.

| module | contents |
|---|---|
| `templates` | kinds and their templates, read from `templates/`; which half each kind belongs to |
| `values` | seeded values: keys, passwords, identities, and harmless look-alikes |
| `documents` | logs made from the templates, with the position of every secret |
| `decorations` | the same documents in colour, with unusual blanks, and in escapes |
| `detectors` | the product, detect-secrets and credsweeper: a log in, the stretches that they report out |
| `scoring` | stretches against labels: recall, precision, intervals |
| `__main__` | the command |

The templates of the half `unseen` exist to measure rules, so do not read them, or the misses on them, to write rules. Once a
rule was written with knowledge of them, their figures no longer say how the rules do on logs of others.
"""
