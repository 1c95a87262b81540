"""What a log began and did not end, and what ends in it without a beginning: one small log for each kind of pair."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_triage.stages.completeness import CompletenessState, completeness_doubts, follow, read_clues
from stream_triage.stages.normalise import mask

# A run of an invented tester that sets up, attaches two UEs, prints a table twice and stops.
WHOLE = """\
07/03/24 10:00:00:000\t#$$CONNECT
07/03/24 10:00:00:020\tC: CONNECT 0x00 ok
07/03/24 10:00:00:100\tRSET
07/03/24 10:00:00:120\tC: RSET 0x00 Ok
07/03/24 10:00:01:000\t#$$START_LOGGING
07/03/24 10:00:01:010\tI: TMAE 0x0 Information - Logging started.
07/03/24 10:00:01:500\tSETP ALPHA 1
07/03/24 10:00:01:520\tC: SETP 0x00 Ok
07/03/24 10:00:02:000\tforw mte Activate -1
07/03/24 10:00:02:030\tC: FORW 0x00 Ok MTE ACTIVATE: RETURN CODE:0 SUCCEEDED
07/03/24 10:00:02:100\tWAIT FOR "NR REGISTRATION IND" TIMEOUT 60
07/03/24 10:00:03:000\tI: CMPI L2 Random Access Initiated :UE Id:0 (Connection Establish: Cell Id 1)
07/03/24 10:00:03:050\tI: CMPI L2 Random Access Complete :UE Id:0 (TimingAdv: 3)
07/03/24 10:00:03:060\tI: CMPI MTE 0 NR CONNECTION IND:UE Id:0
07/03/24 10:00:05:000\tI: CMPI MTE 0 NR REGISTRATION IND:UE Id:0
   Selected PLMN: 00101F
07/03/24 10:00:20:000\tforw mte GetStats [0,1] []
07/03/24 10:00:20:090\tC: FORW 0x00 Ok MTE GETSTATS: RETURN CODE:0 SUCCEEDED
   UE ID: 0   (Cell ID: 1)
      [NumTBs] [NumTBErrors]
      0000000101 0000000001
   UE ID: 1   (Cell ID: 1)
      [NumTBs] [NumTBErrors]
      0000000100 0000000002
07/03/24 10:00:30:000\tforw mte MtsClearMts
07/03/24 10:00:30:090\tC: FORW 0x00 Ok MTE MTSCLEARMTS: RETURN CODE:0 SUCCEEDED
07/03/24 10:00:31:000\t#$$STOP_LOGGING
07/03/24 10:00:31:010\tI: TMAE 0x0 Information - Logging stopped.
07/03/24 10:00:31:100\t#$$DISCONNECT
"""


def doubts(text: str, *, batch: int = 4096, name: str = "") -> list[str]:
    """The doubts about a log of one source, whose lines come in batches."""
    state = CompletenessState()
    lines = text.split("\n")
    state.open_line = lines[-1] != ""
    if not state.open_line:
        lines.pop()
    for start in range(0, len(lines), batch):
        some = lines[start : start + batch]
        follow(state, some, [read_clues(line) for line in mask("\n".join(some)).split("\n")], start + 1)
    return completeness_doubts({name: state})


def ending(text: str) -> str:
    """Why a log is believed to end early; empty if it is not."""
    return next((doubt.partition(": ")[2] for doubt in doubts(text) if doubt.startswith("the log ends early: ")), "")


def beginning(text: str) -> str:
    """Why a log is believed to start late; empty if it is not."""
    return next((doubt.partition(": ")[2] for doubt in doubts(text) if doubt.startswith("the log starts late: ")), "")


def until(mark: str) -> str:
    """The run up to the first line with this text."""
    lines = WHOLE.splitlines(keepends=True)
    return "".join(lines[: next(i for i, line in enumerate(lines) if mark in line) + 1])


def after(mark: str) -> str:
    """The run from the line after the first one with this text."""
    return WHOLE.removeprefix(until(mark))


def test_whole_run_raises_no_doubt() -> None:
    assert doubts(WHOLE) == []


def test_missing_stop_section_alone_is_no_doubt() -> None:
    """Many runs have no stop section, so a log that ends between two records lacks nothing."""
    assert doubts(until("0000000100 0000000002")) == []


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        ("SETP ALPHA", "SETP at line 7 was never confirmed"),
        ("GetStats", "forw mte GetStats at line 17 was never confirmed"),
        ("C: SETP", "the set-up of the tester begins at line 2, and the log ends before anything is tested"),
        ("Random Access Initiated", "random access of UE 0 at line 12 was never completed"),
        ("NR CONNECTION IND", "registration of UE 0 at line 14 was never completed"),
        ("START_LOGGING", "start of logging at line 5 was never completed"),
        ("C: FORW 0x00 Ok MTE GETSTATS", "the table at line 18 has no rows"),
        ("[NumTBs] [NumTBErrors]", "the table at line 20 has no rows"),
    ],
)
def test_what_a_tester_owes_at_the_end(last: str, reason: str) -> None:
    """A run that is cut after this line names what is outstanding, and where."""
    assert reason in ending(until(last))


def test_wait_is_open_until_its_text_comes_or_its_time_is_over() -> None:
    head, wait = until("MTE ACTIVATE"), '07/03/24 10:00:02:100\tWAIT FOR "NR REGISTRATION IND" TIMEOUT 60\n'
    trace = "07/03/24 10:{}\tI: CMPI L1 SRS transmission: UE Id: 0\n"
    assert "WAIT at line 11 was never completed" in ending(head + wait + trace.format("00:40:000"))
    assert "WAIT" not in ending(head + wait + trace.format("01:40:000"))
    assert "WAIT" not in ending(head + wait + "07/03/24 10:00:09:000\tI: CMPI MTE 0 NR REGISTRATION IND:UE Id:0\n")
    assert "WAIT" not in ending(
        head + wait + '07/03/24 10:00:09:000\tI: TMAE 0x1 Warning - WAIT FOR "NR REGISTRATION IND" timed out.\n'
    )
    assert "WAIT" not in ending(head + wait + "07/03/24 10:00:09:000\tforw mte MtsClearMts\n")


def test_plain_wait_is_open_for_its_seconds() -> None:
    head = until("MTE ACTIVATE")
    assert "WAIT at line 11" in ending(head + "07/03/24 10:00:03:000\tWAIT 20\n")
    assert "WAIT" not in ending(head + "07/03/24 10:00:03:000\tWAIT 20\n07/03/24 10:00:24:000\tI: CMPI L1 SRS: UE Id:0\n")


def test_wait_over_midnight() -> None:
    head = until("MTE ACTIVATE").replace(" 10:00:", " 23:59:")
    assert "WAIT" not in ending(head + "07/03/24 23:59:50:000\tWAIT 20\n08/03/24 00:00:24:000\tI: CMPI L1 SRS: UE Id:0\n")


def test_confirmation_that_never_came_although_the_log_goes_on_is_a_failure() -> None:
    """Two minutes later nobody waits for a confirmation any more: the run failed, and its log is whole."""
    text = until("SETP ALPHA") + "07/03/24 10:03:00:000\tI: CMPI L1 SRS: UE Id:0\n"
    assert ending(text) == ""


def test_commands_that_this_log_never_confirms_owe_nothing() -> None:
    text = until("C: SETP") + "".join(
        f"07/03/24 10:00:02:{i}00\tLOAD part{i}\n07/03/24 10:00:02:{i}50\tI: CMPI L1 SRS: UE Id:0\n" for i in range(5)
    )
    assert ending(text) == ""


def test_failed_set_up_is_whole_and_a_resumed_one_is_not() -> None:
    """The failure explains why nothing was tested, unless the set-up went on after it."""
    failed = (
        until("C: SETP")
        + "07/03/24 10:00:02:000\tSCFG MTS_MODE\n07/03/24 10:00:09:000\tC: SCFG 0x06 Failure - Master Initialise failed.\n"
    )
    assert ending(failed) == ""
    resumed = failed + "".join(
        f"07/03/24 10:00:1{i}:000\tSETP A{i} 1\n07/03/24 10:00:1{i}:100\tC: SETP 0x00 Ok\n" for i in range(3)
    )
    assert "the log ends before anything is tested" in ending(resumed)


def test_script_that_stops_the_test_was_not_cut_before() -> None:
    """A UE without an answer then is a failure, even if the stop comes soon after its request."""
    stop = "07/03/24 10:00:04:000\tforw mte MtsClearMts\n07/03/24 10:00:04:050\tC: FORW 0x00 Ok MTE MTSCLEARMTS\n"
    assert ending(until("NR CONNECTION IND") + stop) == ""


def test_stop_without_a_test() -> None:
    """A log that begins with the stop section lacks the test, unless its set-up failed."""
    stop = after("0000000100 0000000002")
    assert "the test is stopped at line 1, and nothing was tested before" in beginning(stop)
    failed = "07/03/24 10:00:09:000\tSCFG MTS_MODE\n07/03/24 10:00:09:000\tC: SCFG 0x06 Failure - no.\n"
    assert beginning(failed + stop) == ""


def test_crash_of_the_tester_owes_nothing() -> None:
    text = until("Random Access Initiated") + "07/03/24 10:00:03:500\tI: REBOOT - The Test Mobile has rebooted.\n"
    assert ending(text) == ""


@pytest.mark.parametrize(
    ("request_", "answer", "name"),
    [
        ("UE 1: Send RRC Setup Request", "UE 1: Received RRCSetup\nUE 1: RRC_SETUP_COMPLETE sent", "RRC connection set-up"),
        ("[RRC] rnti=0x4601 RRCSetup", "[RRC] rnti=0x4601 rrcSetupComplete", "RRC set-up"),
        ("Send NGSetupRequest to AMF", "Received NGSetupResponse from AMF", "NG set-up"),
        ("Sending F1 Setup Request", "F1 Setup Failure received", "F1 set-up"),
        ("E1AP: E1 Setup Request", "E1AP: E1 Setup Response", "E1 set-up"),
        ("[nas] Registration Request", "[nas] Registration Accept", "registration"),
        ("ue=3 PDU Session Establishment Request", "ue=3 PDU Session Establishment Accept", "PDU session set-up"),
        ("UE 2: RRC Reestablishment Request", "UE 2: RRC Reestablishment Complete", "RRC re-establishment"),
        ("UE 2: SecurityModeCommand", "UE 2: Security Mode Complete", "AS security"),
        ("UE 2: UECapabilityEnquiry", "UE 2: UE Capability Information", "UE capability enquiry"),
    ],
)
def test_procedures_of_3gpp_by_the_names_of_their_messages(request_: str, answer: str, name: str) -> None:
    """A request at the end is outstanding; its answer, whatever it says, closes it."""
    assert f"{name}" in ending(f"start\n{request_}\n")
    assert ending(f"start\n{request_}\n{answer}\n") == ""


def test_request_far_from_the_end_failed_by_itself() -> None:
    """What was not answered for long is no sign of a cut: by time stamps, or by lines where there are none."""
    assert ending("Send NGSetupRequest to AMF\n" + "".join(f"retry {'abcdefghij'[i % 10] * 3}\n" for i in range(60))) == ""
    stamped = "2024-03-07T10:00:00 Send NGSetupRequest\n2024-03-07T10:05:00 no answer from AMF yet\n"
    assert ending(stamped) == ""


def test_request_that_is_repeated_in_vain_fails() -> None:
    assert ending("UE 1: RRCSetupRequest\n" * 3) == ""


def test_answer_of_another_ue_leaves_a_request_open() -> None:
    text = "2024-03-07T10:00:00 UE 1: Registration Request\n2024-03-07T10:00:01 UE 2: Registration Request\n"
    assert "registration of UE 1 at line 1" in ending(text + "2024-03-07T10:00:02 UE 2: Registration Accept\n")


def test_answers_that_a_log_never_records_are_not_due() -> None:
    """Requests of earlier UEs stayed unanswered for long, so this log shows one direction alone."""
    text = "".join(f"2024-03-07T10:0{i}:00 UE {i}: Sent RRC Setup\n" for i in range(5))
    assert ending(text) == ""


def test_release_ends_what_a_ue_had_open() -> None:
    assert ending("UE 1: RRCSetup sent\nUE 1: RRCRelease\n") == ""


def test_table_with_fewer_rows_than_the_ones_before() -> None:
    table = "Cell table\n" + "".join(f"cell {i} load {i} %\n" for i in range(5)) + "total\n"
    assert "the table that ends at line 17 has 2 rows, and all earlier ones had at least 5" in ending(
        table * 2 + "".join(table.splitlines(keepends=True)[:3])
    )
    assert ending(table * 3) == ""


def test_record_with_fewer_lines_than_the_ones_before() -> None:
    record = "2024-03-07T10:00:0{} Cell found\n   Cell Id: 1\n   Frequency: 34507\n"
    text = "".join(record.format(i) for i in range(3))
    assert ending(text) == ""
    assert "the record that ends at line 8 has fewer lines than all earlier records of its kind" in ending(
        "".join(text.splitlines(keepends=True)[:-1])
    )


def test_heading_without_rows() -> None:
    text = "2024-03-07T10:00:00 statistics\n   [Attempts] [Success]\n"
    assert "the table at line 2 has no rows" in ending(text)


def test_loop_may_stop_after_any_round() -> None:
    """Lines that repeat are always followed by the next round; only inside a round is something due."""
    rounds = "polling the cell\nreading the level\nwriting the row\n"
    assert ending(rounds * 5) == ""
    assert "lacks the line that followed all earlier lines of its kind" in ending(rounds * 5 + "polling the cell\n")


def test_dialogue_that_a_source_keeps_regularly() -> None:
    """Common words count only where nearly each request was answered."""
    exchange = ">>> set {0}\n{0} is applied by {0}\n<<< ok {0}\n"
    names = ["alpha", "beta", "gamma", "delta", "eps", "zeta", "eta", "theta", "iota", "kappa"]
    text = "".join(exchange.format(name) for name in names)
    assert ending(text) == ""
    assert "the message sent at line 31 was never answered" in ending(text + ">>> set lambda\n")
    assert ending(">>> one\n>>> two\n>>> three\n") == ""


@pytest.mark.parametrize(
    ("block", "end", "name"),
    [
        ('Traceback (most recent call last):\n  File "a.py", line 3, in go\n    run()\n', "ValueError: no\n", "traceback"),
        ('{\n  "cell": {\n    "id": 1\n  },\n', '  "n": 2\n}\n', "JSON"),
        ("<UE-NR-Capability>\n    <rf-Parameters>\n", "    </rf-Parameters>\n</UE-NR-Capability>\n", "XML"),
        ("-----BEGIN CERTIFICATE-----\nMIIBszCCAVmg\n", "-----END CERTIFICATE-----\n", "PEM"),
    ],
)
def test_blocks(block: str, end: str, name: str) -> None:
    """A block that was begun must be closed, or left for other lines."""
    assert f"the {name} that begins at line 2 has no end" in ending("begin\n" + block)
    assert ending("begin\n" + block + end) == ""
    assert ending("begin\n" + block + "The next step begins\n") == ""


@pytest.mark.parametrize(
    "line",
    [
        "07/03/24 10:00:4",
        "07/03/24 10:00:40:000\tI: CMPI L1 Cell (Id",
        '07/03/24 10:00:40:000\tI: ERNO "abc',
        "07/03/24 10:00:40:000\ta: 1,",
    ],
)
def test_last_line_without_its_end(line: str) -> None:
    """A last line without line end is incomplete if its form says so; many whole files have no last line end."""
    assert "the last one, is incomplete" in ending(WHOLE + line)
    assert "incomplete" not in ending(WHOLE + line + "\n")
    assert ending(WHOLE.rstrip("\n")) == ""


def test_colour_codes_at_the_end_are_no_line() -> None:
    assert ending("one\ntwo\n\x1b[0m") == ""
    assert ending("one\n\x1b[32mtwo\x1b[0m") == ""


def test_program_that_never_got_ready() -> None:
    start = "[UTIL]   running in SA mode\n[HW]   Version: 1\n[PHY]   Initializing\n"
    assert "the start of the OpenAirInterface softmodem begins at line 1, and the log ends before it is ready" in ending(
        start
    )
    assert ending(start + "[F1AP]   waiting for F1 Setup Response\n") == ""
    assert ending(start + "Assertion (x > 0) failed!\nExiting execution\n") == ""


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ("GetStats", "the confirmation at line 1 has no command before it"),
        ("REGISTRATION IND:UE", "line 1, the first one, continues a record whose beginning is missing"),
        ("UE ID: 0", "line 1, the first one, continues a record whose beginning is missing"),
    ],
)
def test_what_is_missing_at_the_beginning(first: str, reason: str) -> None:
    """A run whose first lines are missing, up to this one, says what shows it."""
    text = after(first)
    assert reason in beginning(text)


def test_a_log_without_commands_does_not_start_late() -> None:
    """Where a tester does not record what it is sent, a confirmation without its command says nothing."""
    commands = ("#$$", "RSET", "SETP", "forw", "WAIT")
    text = "".join(line for line in WHOLE.splitlines(True) if not line.partition("\t")[2].startswith(commands))
    assert text.startswith("07/03/24 10:00:00:020\tC: CONNECT")
    assert doubts(text) == []


def test_first_line_without_its_beginning() -> None:
    assert "line 1, the first one, is incomplete" in beginning(WHOLE[len("07/03/24 10:00") :])


def test_statistics_that_lack_a_ue() -> None:
    """Only if earlier statistics had a table for each UE that was asked for."""
    query = WHOLE[WHOLE.index("07/03/24 10:00:20") : WHOLE.index("07/03/24 10:00:30")]
    half = query[: query.index("   UE ID: 1")]
    assert "lack 1 of the UEs that the command names" in ending(until("Selected PLMN") + query + half)
    assert ending(until("Selected PLMN") + half) == ""
    assert ending(until("Selected PLMN") + query + query) == ""


def test_ues_at_work_that_nothing_started() -> None:
    """Several records are needed, since testers lose some."""
    work = "07/03/24 10:00:0{0}:000\tI: CMPI L2 RLC: STATUS PDU: UE Id: {0}\n"
    assert beginning(work.format(1)) == ""
    text = "".join(work.format(i) for i in range(1, 4))
    assert "the start of the UEs is missing before line 1" in beginning(text)
    assert beginning("07/03/24 10:00:00:000\tI: CMPI MTE 0 NR CONNECTION IND:UE Id:1\n" + text) == ""


def test_answer_whose_request_is_missing() -> None:
    """Only if this log records the requests of others."""
    later = "UE 2: Registration Request\nUE 2: Registration Accept\n"
    assert "registration is completed at line 1, and its beginning is missing" in beginning(
        "UE 1: Registration Accept\n" + later
    )
    assert beginning("UE 1: Registration Accept\nUE 2: Registration Accept\n") == ""


def test_reasons_name_the_source_and_stop_after_three() -> None:
    states = {}
    for name in ("cu", "du", "ue", "core"):
        states[name] = CompletenessState()
        line = "Send NGSetupRequest"
        follow(states[name], [line], [read_clues(line)], 1)
    (doubt,) = completeness_doubts(states)
    assert doubt.startswith("the log ends early: NG set-up at line 1 of core was never completed; NG set-up at line 1 of cu")
    assert doubt.endswith("; and 1 more")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 29), st.integers(1, 9), st.data())
def test_batches_change_nothing(lines: int, batch: int, data: st.DataObject) -> None:
    """However the lines are batched, the doubts are the same."""
    first = data.draw(st.integers(0, lines - 1))
    text = "".join(WHOLE.splitlines(keepends=True)[first:lines])
    assert doubts(text, batch=batch) == doubts(text)


def test_state_is_bounded() -> None:
    """A long log of ever new lines and UEs keeps a bounded state."""
    state = CompletenessState()
    for start in range(0, 6_000, 1000):
        lines = [f"UE {i:x}0: Registration Request of {chr(97 + i % 26)}{i:06x}z" for i in range(start, start + 1000)]
        follow(state, lines, [read_clues(line) for line in mask("\n".join(lines)).split("\n")], start + 1)
    assert len(state.procedures.open) <= 1024
    assert len(state.order._pairs) <= 128
    assert len(state.order._kinds) <= 128


def test_a_last_line_with_mixed_up_brackets_is_whole() -> None:
    """A file without the last line end is whole if as many brackets are closed as opened, whatever their kinds."""
    text = (
        "[UTIL]   starting the manager\n[UTIL]   configuration: [time: real] [server IP: 127.0.0.1} [port: 7374] (not used)"
    )
    assert "incomplete" not in ending(text)
    assert "incomplete" in ending(text.removesuffix("not used)"))


@pytest.mark.parametrize(
    "last",
    ["Finished: SUCCESS", "##[endgroup]", "Job succeeded", "lab@pc3:~/nr$ ", "root@rack-3:~#", "du exited with code 0"],
)
def test_what_follows_the_log_is_not_a_line_of_it(last: str) -> None:
    """A CI system or a shell often ends its last line with no line end; the log before it is whole."""
    text = "".join(f"07/03/24 10:00:{i:02}:000\tpolling round {i}\n" for i in range(40))
    assert "incomplete" not in ending(text + last)


def test_programs_in_one_file_end_alike() -> None:
    """The F1 set-up of the CU, read before the DU starts, is no end of the start of the DU."""
    assert "start of F1" not in beginning(
        "[F1AP]   F1 Setup Response\n[F1AP]   Starting F1AP at DU\n[F1AP]   F1 Setup Response\n[MAC]   ready\n"
    )


TABLE = WHOLE[: WHOLE.index("   UE ID: 1")]


def absent_doubts(text: str, *absent: str) -> list[str]:
    """The doubts about a log of which passing runs have lines that it lacks."""
    state = CompletenessState()
    lines = text.splitlines()
    follow(state, lines, [read_clues(line) for line in mask("\n".join(lines)).split("\n")], 1)
    return completeness_doubts({"": state}, absent={"": absent})


# A first response, cut after a line that may well be its last one.
RESPONSE = TABLE.replace("GetStats [0,1] []", "GetStats [] []")


def test_a_response_lacks_a_line_of_passing_runs() -> None:
    """A log that ends in a response lacks its rest if nearly all passing runs have one more line of a record."""
    assert absent_doubts(RESPONSE) == []
    (doubt,) = absent_doubts(RESPONSE, "Total: <num>")
    assert doubt == (
        'the log ends early: the response at line 21 lacks the line "Total: <num>", which nearly all passing runs have'
    )


@pytest.mark.parametrize(
    "end",
    [
        "07/03/24 10:00:21:000\tI: CMPI RRC Paging: UE Id: 1\n",
        "07/03/24 10:00:21:000\tI: CMPI RRC Connection Failed: UE Id: 1\n   Cause: unknown\n",
    ],
)
def test_lines_of_passing_runs_are_due_in_responses_alone(end: str) -> None:
    """A log that ends after a response, or within an indication, may lack lines of passing runs: runs fail."""
    assert absent_doubts(RESPONSE + end, "Total: <num>") == []


@pytest.mark.parametrize("heading", ["PDCP (DRB 1)", "RLC (SRB 2)"])
def test_a_heading_of_a_layer_needs_rows(heading: str) -> None:
    """A log that ends with the heading of the statistics of a layer lacks the table."""
    assert ending(RESPONSE + f"      {heading}\n") == "the table at line 22 has no rows"


SOFTMODEM = """\
[UTIL]   running in SA mode
[GNB_APP]   SIB1 TDA 15
[NR_MAC]   NR band 78, duplex mode TDD
[PHY]   task ready, initialize structures
[ITTI]   Created Posix thread TASK_X
"""


def test_lines_of_the_start_do_not_end_it() -> None:
    """A softmodem that prints its configuration is not ready yet."""
    assert ending(SOFTMODEM).startswith("the start of the OpenAirInterface softmodem")


def test_a_failure_that_is_tried_again_does_not_explain_the_end() -> None:
    """A start goes on after a failure that is retried, and is over after any other failure."""
    failure = "[F1AP]   Received unsuccessful result for SCTP association (3)"
    assert ending(SOFTMODEM + failure + ", retrying...\n").startswith("the start of the OpenAirInterface softmodem")
    assert ending(SOFTMODEM + failure + "\n") == ""


def test_the_start_of_a_random_access_procedure_opens_it() -> None:
    """The initialization of a contention-based random access is answered by its success."""
    text = SOFTMODEM + "[PHY]   got sync\n[MAC]   Initialization of 4-Step CBRA procedure\n"
    assert ending(text) == "random access at line 7 was never completed"
    assert ending(text + "[MAC]   4-Step RA procedure succeeded. CBRA: Contention Resolution is successful.\n") == ""
