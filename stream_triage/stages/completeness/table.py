"""What must follow what in logs of test farms, as data: procedures, phases and blocks, each with what opens and closes it.

To teach the stage a new pair, add a row here and a test. A row needs no name of a product: messages of 3GPP are matched on
the squeezed line (lower case, letters and digits alone), so `RRC Setup Request`, `RRCSetupRequest` and
`RRC_SETUP_REQUEST` are one message.
"""

import re
from typing import Final, NamedTuple

__all__ = [
    "BLOCKS",
    "DIALOGUES",
    "FAILURE_WORDS",
    "GONE",
    "PHASES",
    "PROCEDURES",
    "PROCEDURE_WORDS",
    "RETRY_WORDS",
    "STARTS",
    "Block",
    "Dialogue",
    "Phase",
    "Procedure",
    "Start",
]


class Procedure(NamedTuple):
    """Two messages of which the first asks for the second.

    Attributes:
        name: What it is called in a reason.
        opened: Pattern of the request, in squeezed text.
        closed: Pattern of every answer, also of a refusal or a time-out: whatever shows that the log went on.
        seconds: The answer comes within this time, or the log shows its absence. A request that is older at the end of
            the log is a failure of the run and no sign of a cut.
        learned: Whether the answer is only due if this log answered such a request before: not every log records it.
        ends_alike: Whether other procedures have the same answers, so that an answer without a request means nothing.
    """

    name: str
    opened: re.Pattern[str]
    closed: re.Pattern[str]
    seconds: float
    learned: bool = False
    ends_alike: bool = False


class Phase(NamedTuple):
    """What a program or a script does before its real work begins.

    Attributes:
        name: What it is called in a reason.
        begun: Pattern of the beginning of lines that belong to the phase, in masked text; `lines` of them show that it is
            under way.
        over: Texts of lines that show what the phase leads to, or that the program was stopped.
        failed: Texts of lines that report a failure. If the phase does not go on after it, the failure explains the end.
        next_step: What was due, in the words of a reason.
        lines: How many lines must match `begun`.
    """

    name: str
    begun: re.Pattern[str]
    over: tuple[str, ...]
    failed: tuple[str, ...]
    next_step: str
    lines: int


class Dialogue(NamedTuple):
    """Two kinds of lines that alternate in some logs, by their words: requests and answers, begins and ends.

    The words are so common that they only count in a source in which nearly every first one is followed by a second one.
    """

    name: str
    asks: frozenset[str]
    answers: frozenset[str]


class Start(NamedTuple):
    """Something that cannot happen in a log before something else, in masked text of a tester.

    Attributes:
        name: What was missing, in the words of a reason.
        first: Pattern of the lines that come first; several kinds, since testers lose records.
        later: Pattern of the lines that need one of them.
    """

    name: str
    first: re.Pattern[str]
    later: re.Pattern[str]


class Block(NamedTuple):
    """Lines that belong together, from a first to a last line, in masked text.

    Attributes:
        name: What it is called in a reason.
        opened: Pattern of the first line.
        closed: Pattern of the last line.
        inside: Pattern of the lines between. Any other line ends the block too, since not every block is closed in a log.
    """

    name: str
    opened: re.Pattern[str]
    closed: re.Pattern[str]
    inside: re.Pattern[str]


def _procedure(
    name: str, opened: str, closed: str, seconds: float, *, learned: bool = False, ends_alike: bool = False
) -> Procedure:
    return Procedure(name, re.compile(opened), re.compile(closed), seconds, learned, ends_alike)


# What ends a connection ends all procedures of its UE, in squeezed text.
GONE: Final = re.compile(
    r"disconnect|deregistration(?:ind|request|accept)|emmderegister|detach|connectionfailedind|rrcrelease|rrcconnectionrelease|triggerrelease"
    r"|plmnloss|uecontextrelease|remove(?:d|s|ing)?(?:ue|user)|radiolinkfailure|rlfdetected|signallost"
)
# A line with one of these opens nothing, and closes what it names. In lower case.
FAILURE_WORDS: Final = (
    "fail", " error", "could not", "couldn't", "cannot", "unable", "expir", "timed out", "timeout", "time-out", "reject",
    "refuse", "discard", "unexpected", "invalid", "not handled", "ignor",
)  # fmt: skip
# A failure after which the program says that it tries again does not explain the end of a log. In lower case.
RETRY_WORDS: Final = ("retry", "trying again", "try again")
# Without one of these a line opens and closes nothing; most lines have none. In lower case.
PROCEDURE_WORDS: Final = (
    "rrc", "access", "setup", "set-up", "regist", "attach", "detach", "establ", "securit", "capabilit", "authent",
    "session", " ind", "sctp", "logging", "connect", "convert_to_text", "cbra", "rlf", "pdn", "plmn", "release",
    "remove", "removing", "link fail", "signal lost", "timed out", "ra proc", "f1ap", "unsuccessful", "exiting exec",
    "assertion", "terminated", "section from",
)  # fmt: skip

# TS 38.331 and 36.331 (RRC), 24.501 and 24.301 (NAS), 38.413, 38.473 and 37.483 (NG, F1, E1), 38.321 (random access). The
# limits in seconds are timers of these specifications, with room for a slow tester: T300 and T301 last up to 2 s, T304 up
# to 10 s, T3510 and T3580 15 and 16 s.
PROCEDURES: Final = (
    _procedure(
        "random access",
        r"randomaccessinitiated|randomaccess(?:procedure)?(?:started|triggered)"
        r"|(?:initiating|initiali[sz](?:ing|ationof))(?:ra|randomaccess|[24]?stepc[bf]ra)procedure",
        r"randomaccess(?:procedure)?(?:complete|error|cancel|fail|succe|abort)|raprocedure(?:succe|fail|complete)|cbraproceduresucceeded"
        r"|rrcconnectionre?establish|rlf|rarfail|connectionind",
        10,
    ),
    _procedure(
        "RRC connection set-up",
        r"rrc(?:connection)?(?:setup)?request(?!ed)(?<!resumerequest)(?<!reestablishmentrequest)",
        r"rrc(?:connection)?setup(?!request)|rrc(?:connection)?reject|t300|connectionind|timedout|rrcconnect(?:ed|ionestablished)",
        5,
    ),
    _procedure(
        "RRC set-up",
        r"rrc(?:connection)?setup(?!request|complete|compl)",
        r"rrc(?:connection)?setupcompl|rrcconnect(?:ed|ionestablished)|connectionind|reject|t300|initialuemessage|securitymode|registration(?:accept|ind)",
        5,
    ),
    _procedure(
        "RRC reconfiguration",
        r"rrc(?:connection)?reconfiguration(?!complete|fail|withsync)",
        r"rrc(?:connection)?reconfiguration(?:complete|fail|not)|reestablishment|handover(?:complete|fail)|t304",
        5,
        learned=True,
    ),
    _procedure(
        "RRC re-establishment",
        r"reestablishment(?:started|request)",
        r"reestablishment(?:success|complete|reject|refused|fail)|t301|t311|rrcsetup",
        5,
    ),
    _procedure(
        "AS security",
        r"(?<!nas)securitymodecommand",
        r"securitymode(?:complete|fail|reject)|registration(?:accept|ind)|attachaccept|pdusession(?!s?id)",
        10,
    ),
    _procedure(
        "UE capability enquiry",
        r"capabilityenquiry",
        r"capabilityinfo|receiveduecapabilit|capabilitymismatch|registration(?:accept|ind)|attachaccept|pdusession(?!s?id)",
        5,
    ),
    _procedure(
        "authentication",
        r"authenticationrequest",
        r"authentication(?:response|fail|reject)|securitymode",
        10,
        learned=True,
    ),
    _procedure(
        "registration",
        r"(?:ecm|nr)connectionind|(?:(?:initial)?registration|attach)request(?!ed)",
        r"registrationind|emmregisterind|(?:registration|attach)(?:accept|reject|complete|success|fail)"
        r"|pdusession(?!s?id)|pdnconnect|t3510|t3410|timedout",
        30,
    ),
    _procedure(
        "PDU session set-up",
        r"pdusession(?:establish(?:ment)?|resourcesetup)request|pdusessionsetupinitiating|pdnconnectivityrequest",
        r"pdusessionestablishment(?:ind|accept|reject|issuccess)|pdusession(?:resource)?setupres|pdusessionresourcessetup"
        r"|pdnconnectionind|pdusessionresourcesetupfor|(?:pdu|pdn)\w{0,20}reject|t3580|t3482"
        r"|activatedefault|defaulteps|attach(?:accept|complete)",
        20,
    ),
    _procedure(
        "session after the registration",
        r"nrregistrationind|emmregisterind",
        r"pdusession(?:establish|release)|pdn(?:dis)?connect|(?:pdu|pdn)\w{0,20}reject|t3580|t3482",
        20,
        learned=True,
    ),
    _procedure("NG set-up", r"ngsetuprequest", r"ngsetup(?:resp|fail|procedure)", 10),
    _procedure("S1 set-up", r"s1setuprequest", r"s1setup(?:resp|fail|procedure)", 10),
    _procedure("F1 set-up", r"f1setupreq", r"f1setup(?:resp|fail)", 10),
    _procedure(
        "start of F1 at the DU",
        r"startingf1apatdu",
        r"f1setup|unsuccessfulresult|exitingexecution|assertion|terminated|sectionfromtheconfigfile",
        30,
        ends_alike=True,
    ),
    _procedure("E1 set-up", r"e1(?:ap)?setupreq", r"e1(?:ap)?setup(?:resp|fail)", 10),
    _procedure("Xn set-up", r"xnsetuprequest", r"xnsetup(?:resp|fail)", 10),
    _procedure(
        "initial context set-up",
        r"initialcontextsetupreq",
        r"initialcontextsetup(?:resp|fail)",
        10,
        learned=True,
    ),
    _procedure("UE context set-up", r"uecontextsetupreq", r"uecontextsetup(?:resp|fail)", 10, learned=True),
    _procedure("start of logging", r"startlogging", r"loggingstarted|stoplogging", 10),
    _procedure(
        "SCTP connection", r"tryingtoestablishsctp", r"sctpconnection(?!\w*tryingto)|sctp\w*(?:established|fail|refused)", 10
    ),
)


# A program that failed is over: what it prints next is its clean-up. A script goes on after a failed command.
_WENT_WRONG: Final = (
    "ailed", "FAILED", "error", "Error", "ERROR", "Assert", "Exiting", "xception", "unsuccessful", "efused", "timed out",
    "imeout", "[E]", "FATAL", "topping", "erminat", "annot", "Couldn't", "nable to", "Invalid", "not found",
)  # fmt: skip
PHASES: Final = (
    Phase(
        name="set-up of the tester",
        begun=re.compile(r"(?:<time> )?(?:\.\.\. )?C: [A-Z_]+ 0x00 "),
        over=(
            "UE Id", "UE ID", "Activate", "ACTIVATE", "MtsClearMts", "STOP_LOGGING", "#$$DISCONNECT",
            "RDA TEST GROUP STOPPED",
        ),
        failed=("FAILED", "Failure", "Unavailable", "ERNO", "REBOOT", " 0x02 "),
        next_step="anything is tested",
        lines=2,
    ),
    Phase(
        name="start of the OpenAirInterface softmodem",
        begun=re.compile(
            r"\[(?:UTIL|HW|OPT|GNB_APP|ENB_APP|PHY|NR_PHY|NR_MAC|NR_RRC|LIBCONFIG|CONFIG|LOADER|SIM)\]"
        ),
        over=(
            *_WENT_WRONG, "SetupRequest", "Created gtpu", "F1AP_CU_SCTP_REQ", "waiting for", "Frame.Slot",
            "Trying to connect", " Received", "got sync", "CTRL-C", "Southbound", "DU uses", "in service", "Reading '",
            "Scanning",
        ),
        failed=(),
        next_step="it is ready",
        lines=2,
    ),
    Phase(
        name="start of the srsRAN program",
        begun=re.compile(r"(?:<time> )?(?:\[\w+ *\] )*(?:Built in \w+ mode using|Using binary srs|--== srsRAN)"),
        over=(
            *_WENT_WRONG, "started ===", "ttaching", "rnti=", "Closing", "Stop", "[RRC", "PHY", "FAPI", "S1AP", "NGAP",
            "MAC",
        ),
        failed=(),
        next_step="it is ready",
        lines=1,
    ),
)  # fmt: skip


def _dialogue(name: str, asks: str, answers: str) -> Dialogue:
    return Dialogue(name, frozenset(asks.split()), frozenset(answers.split()))


DIALOGUES: Final = (
    _dialogue(
        "the message sent",
        ">> >>> -> --> => ==> TX Tx SEND SENT Send Sent Sending CMD",
        "<< <<< <- <-- <= <== RX Rx RECV RCVD Receive Received Receiving",
    ),
    _dialogue(
        "the request",
        "request Request REQUEST REQ Req req query Query",
        "response Response RESPONSE RSP RESP CNF rsp Rsp reply Reply answer Answer confirm Confirm confirmed",
    ),
    _dialogue(
        "the step",
        "Starting Begin BEGIN START Executing Entering Running RUN",
        "done Done DONE finished Finished FINISHED complete Complete completed Completed END stopped Stopped Leaving PASS "
        "PASSED FAIL FAILED OK",
    ),
)

STARTS: Final = (
    # Not every log records random access or registration, but something shows that a UE came before it is at work.
    Start(
        "the start of the UEs",
        re.compile(
            r"Activate|ACTIVATE|ACTIVE RAT|Cell Selection|Random Access Initiated| CONNECTION IND|REGISTRATION IND"
            r"|EMM REGISTER IND"
        ),
        re.compile(
            r"I: CMPI (?:L2 (?:RLC|PDCP|SDAP|MAC)|RRC \w*(?:MeasurementReport|Re-establishment|Handover)"
            r"|(?:MTE|DTE).*(?:DISCONNECTION|DEREGISTRATION|DEREGISTER|RELEASE) IND)"
        ),
    ),
)


def _block(name: str, opened: str, closed: str, inside: str) -> Block:
    return Block(name, re.compile(opened), re.compile(closed), re.compile(inside))


BLOCKS: Final = (
    _block("traceback", r"Traceback \(most recent call last\):\s*$", r"^\S*\w+(?::|$)", r"^\s"),
    _block(
        "JSON",
        r"^[{\[]\s*$",
        r"^[}\]],?\s*$",
        r'^(?:\s+(?:"|[{}\[\]]|-?[\d<]|true|false|null)|\s*[\]}],?\s*$)',
    ),
    _block("XML", r"^\s*<([A-Za-z][\w.-]*)(?:\s[^<>]*)?>\s*$", r"^\s*</\w", r"^\s*<"),
    _block("PEM", r"-----BEGIN [A-Z ]+-----", r"-----END [A-Z ]+-----", r"^[A-Za-z0-9+/=<>_:-]+\s*$"),
)
