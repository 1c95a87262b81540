"""Records of a tester in, in order: commands, confirmations and waits; what the tester still owes, out.

Commands are confirmed in their order (`C: VERB 0x00 Ok`), and a script sends the next one when it has the confirmation or
when its wait is over. Which commands are confirmed is learned from the log itself.
"""

import re
from typing import Final, NamedTuple

from stream_triage.stages.completeness.clock import clock
from stream_triage.stages.completeness.clues import Clues

__all__ = ["Request", "Tester", "Wait"]

MAX_VERBS: Final = 256
MAX_WAITS: Final = 16
# Commands of a kind are confirmed if at most this share of them was not: testers lose records.
UNCONFIRMED_SHARE: Final = 0.2
# A command is confirmed within this time, or never.
CONFIRMED_SECONDS: Final = 60.0

_WAIT: Final = re.compile(r'\bWAIT (?:(\d+)\s*$|FOR "([^"]+)"(?: TIMEOUT (\d+))?)')
# A script that stops the test has not been cut before: what is open then stays open.
_STOPS: Final = re.compile(r"MtsClearMts|STOP_LOGGING|#\$\$DISCONNECT|StopTestCase", re.IGNORECASE)
_UE_TABLE: Final = re.compile(r"\s+UE ID: (\d+)")
_UE_LIST: Final = re.compile(r"\[(\d+(?:,\d+)*)\]")


class Request(NamedTuple):
    """Something that asks for an answer: its line, and its time of day in seconds."""

    line: int
    at: float | None


class Wait(NamedTuple):
    """A wait of a script: where it began, the text that ends it (upper case), and for how many seconds it waits at most."""

    request: Request
    text: str
    seconds: float


class Tester:
    """What a tester was asked and did not answer yet, in one source. Bounded."""

    def __init__(self) -> None:
        self.command: Request | None = None
        """The last command, if it was not confirmed yet; its words."""
        self.command_text = ""
        self.waits: list[Wait] = []
        self.due_ues: list[str] = []
        """UEs that the last query for statistics named and whose tables did not come yet."""
        self._listed = 0
        """UEs that this query named."""
        self._full = self._partial = 0
        """Queries for several UEs whose tables all came, and the others."""
        self.table_due = False
        """Whether the last confirmation announces a table that did not begin yet."""
        self.seen = 0
        """Confirmations and indications: whether this is the log of a tester at all."""
        self.orphan = 0
        """Line of a confirmation that came before any command."""
        self.stopped = 0
        """Line of the first command that stops the test."""
        self.failed = False
        """Whether a command failed."""
        self._verb = ""
        self._commands = False
        self._confirmed: dict[str, int] = {}
        self._unconfirmed: dict[str, int] = {}
        """Commands by verb: how often each was confirmed, and how often the next command came first."""

    def take(self, line: str, clue: Clues, number: int) -> bool:
        """Takes the next record of the tester. Returns whether the test is over: it is stopped, or the tester restarted."""
        over = False
        self.seen += clue.grammar in {"confirmation", "indication"}
        if clue.grammar == "confirmation":
            self._confirm(line, number)
        elif clue.grammar in {"command", "query"}:
            self._ask(line, clue, number)
            over = _STOPS.search(line) is not None
            if over and not self.stopped:
                self.stopped = number
        elif clue.grammar == "indication":
            over = "REBOOT" in line
            if over or "timed out" in line:
                self.command = None
            if over:
                self.waits = []
        if self.waits and clue.grammar not in {"command", "query"}:
            self._end_waits(line)
        return over

    @property
    def awaits_body(self) -> bool:
        """Whether a line that continues a record may bring something that is due."""
        return self.table_due or bool(self.waits or self.due_ues)

    def take_body(self, line: str) -> None:
        """Takes a line that continues a record."""
        self.table_due = False
        if self.waits:
            self._end_waits(line)
        if self.due_ues and (ue := _UE_TABLE.match(line)) and ue[1] in self.due_ues:
            self.due_ues.remove(ue[1])

    def _end_waits(self, line: str) -> None:
        upper = line.upper()
        self.waits = [wait for wait in self.waits if not wait.text or wait.text not in upper]

    def _confirm(self, line: str, number: int) -> None:
        if self.command:
            _count(self._confirmed, self._verb)
        elif not self._commands and not self.orphan:
            self.orphan = number
        self.command = None
        self.failed |= " 0x00 " not in line
        self.table_due = "STATS" in line.upper() and "FAILED" not in line

    def _ask(self, line: str, clue: Clues, number: int) -> None:
        if self.command:
            _count(self._unconfirmed, self._verb)
        if self._listed > 1:
            self._full += not self.due_ues
            self._partial += bool(self.due_ues)
        self._listed = 0
        self.command, self.due_ues, self.table_due, self._commands = None, [], False, True
        if clue.grammar == "command":
            self.waits = []  # a script goes on when its wait is over; statistics may be asked for meanwhile
        request, wait = Request(number, clock(line)), _WAIT.search(line)
        if wait:
            seconds, text, limit = wait.groups()
            if len(self.waits) < MAX_WAITS:
                self.waits.append(Wait(request, (text or "").upper(), float(seconds or limit or 0)))
            return
        self.command, self._verb = request, clue.verb
        self.command_text = line.rsplit("\t", maxsplit=1)[-1].strip()
        if clue.grammar == "query" and (ues := _UE_LIST.search(line)):
            self.due_ues = ues[1].split(",")
            self._listed = len(self.due_ues)

    @property
    def lacks_ues(self) -> bool:
        """Whether the last statistics lack UEs that were asked for, and those before did not."""
        regular = self._full > 0 and self._partial <= UNCONFIRMED_SHARE * self._full
        return bool(self.due_ues) and not self.command and regular

    @property
    def shows_commands(self) -> bool:
        """Whether the log shows commands that are confirmed. A log of confirmations alone does not record what is sent."""
        return bool(self._confirmed)

    @property
    def confirms_its_command(self) -> bool:
        """Whether commands like the last one are confirmed in this log."""
        seen, missing = self._confirmed.get(self._verb, 0), self._unconfirmed.get(self._verb, 0)
        if not seen and not missing and not self._verb.startswith("#"):
            # A new command is due a confirmation if the others are. Those that control the logging (`#$$`) mostly are not.
            seen = sum(self._confirmed.values())
            missing = sum(count for verb, count in self._unconfirmed.items() if not verb.startswith("#"))
        return seen > 0 and missing <= UNCONFIRMED_SHARE * seen


def _count(verbs: dict[str, int], verb: str) -> None:
    if verb in verbs or len(verbs) < MAX_VERBS:
        verbs[verb] = verbs.get(verb, 0) + 1
