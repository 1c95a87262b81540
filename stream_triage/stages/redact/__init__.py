r"""Whole lines in, the same lines without secrets and subscriber identities out.

The first stage after line cutting: everything after it, sinks included, sees only what leaves here. So it rather removes too
much, except where that would hide what triage needs. To add a rule, add a row with examples to one of the tables.

| module | what it holds |
|---|---|
| `identities`, `cryptographic_keys`, `cards`, `tokens`, `commands`, `credentials` | the rules for secrets within a line |
| `rule` | what a rule is |
| `names`, `values`, `assignments` | what a name says about its value, and whether a value can be a secret |
| `triggers` | the rules in order, and the search for lines that a rule has to be tried on |
| `reasons` | whether a number without a name is that of a subscriber |
| `views` | lines as a reader sees them: without colours and invisible characters, with escapes decoded |
| `rounds` | the rules applied until they change nothing |
| `blocks` | private keys, and hex dumps of keys, over several lines |
| `context`, `tables` | what one line says about the next: rows below a header, values below a name |
| `headers` | what the name of a header says about its value |
| `own_patterns` | the user's own patterns |
| `redactor` | `Redactor`, which applies all of these to the views of each line |

Decisions behind the rules:

- RAND, AUTN, RES, GUTI, TMSI and key identifiers stay: they are sent in clear or short-lived, and tell procedures apart.
- Rules never see a colour or an escape: they are applied to views of a line. Raw lines are one of these views.
- A bare 15-digit number is an IMSI if it begins with a country code in use and its line says that it is one: by a word of a
  mobile network, a key or a domain, and not by the name or unit of a quantity. Networks of laboratories (001/01, 999/70,
  901/70) need no such reason. A bare number of 14 or 16 digits stays.
- A header needs less than a line: `auth` or `pin` as its name makes any value a secret.
- `key = …` needs 32 or 64 hex digits, or a word before `key` that says which; a database prints its row keys as hex digits
  too, and they are removed as well.
- 32 or 64 hex digits on the line of a subscriber are a key, unless a name says that they are something else. So are lines of
  nothing else directly below it.
- Names are read in parts: `DB_PASSWORD_2` is a password, `password_file` and `max_tokens` are none.
- A bare telephone number needs its `+` and at least nine digits.
- `$NAME`, `%s`, `***`, `[secure]`, `null`, `true` and other stand-ins are no secrets; neither are calls and variables of
  programs, paths, and words of a sentence. Bare `pass` counts tests, and `pw` is a power if its value is a number.
- `token:` and `token=` need a digit in the value; `secret=`, `password=` and similar names do not.
- Without `=` or a colon between name and value, the value must have a digit or sign among its letters.
- `git@host` is the address of a service, not of a person, and stays.
- An unquoted value ends at a space or quote, and at a comma, semicolon, ampersand or closing bracket unless the rest of the
  word looks like a part of it.
- Only identities become pseudonyms, never secrets or matches of own patterns. The SUCI of the null scheme gets the pseudonym
  of its IMSI.
- A private key without END is over after 8 lines in a row without key material, and after 2,000 lines at most.
- A table is over after 4 lines in a row that are no rows.
"""

from typing import Final

from stream_triage.stages.redact.blocks import RedactionState
from stream_triage.stages.redact.own_patterns import RedactionPattern
from stream_triage.stages.redact.redactor import Redactor
from stream_triage.stages.redact.rule import RedactionRule, Trigger
from stream_triage.stages.redact.triggers import RULES

__all__ = ["RULES", "RedactionPattern", "RedactionRule", "RedactionState", "Redactor", "Trigger"]

# Makes the examples of the table doctests.
__test__: Final = {
    rule.name: "\n".join(f">>> Redactor().text({before!r})\n{after!r}" for before, after in rule.examples) for rule in RULES
}
