r"""Whole lines in, the same lines without secrets and subscriber identities out.

The first stage after line cutting: everything after it, sinks included, sees only what leaves here. So it rather removes too
much, except where that would hide what triage needs. To add a rule, add a row with examples to one of the tables.

| module | what it holds |
|---|---|
| `identities`, `keys`, `credentials` | the table: rules for secrets within a line |
| `rule` | what a rule is |
| `table` | the rules in order, and the search for lines that a rule has to be tried on |
| `blocks` | private keys, and hex dumps of keys, over several lines |
| `redactor` | `Redactor`, which applies all of these and the user's own patterns |

Decisions behind the rules:

- RAND, AUTN, RES, GUTI, TMSI and key identifiers stay: they are sent in clear or short-lived, and tell procedures apart.
- A bare 15-digit number is an IMSI if its first three digits can be a country code; a bare one of 14 or 16 digits stays.
- `key = …` needs 32 or 64 hex digits; a database prints its row keys that way too, and they are removed as well.
- A bare telephone number needs its `+` and at least ten digits.
- `$NAME`, `%s`, `***`, `[secure]`, `null`, `true` and other stand-ins are no secrets; bare `pass` counts tests.
- `token:` and `token=` need a digit in the value; `secret=`, `password=` and similar names do not.
- `git@host` is the address of a service, not of a person, and stays.
- An unquoted value ends at a space, comma, semicolon, ampersand or closing bracket.
- Only identities become pseudonyms, never secrets or matches of own patterns. The SUCI of the null scheme gets the pseudonym
  of its IMSI.
- A private key without END is over after 8 lines in a row without key material, and after 2,000 lines at most.
"""

from typing import Final

from stream_triage.stages.redact.blocks import RedactionState
from stream_triage.stages.redact.redactor import RedactionPattern, Redactor
from stream_triage.stages.redact.rule import RedactionRule, Trigger
from stream_triage.stages.redact.table import RULES

__all__ = ["RULES", "RedactionPattern", "RedactionRule", "RedactionState", "Redactor", "Trigger"]

# Makes the examples of the table doctests.
__test__: Final = {
    rule.name: "\n".join(f">>> Redactor().text({before!r})\n{after!r}" for before, after in rule.examples) for rule in RULES
}
