"""A server of pages with runs as a test farm has them: samples, judged for real, and one whose log attacks the pages."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import uvicorn

from stream_triage import Bundle, Triage, Verdict, find_bundle
from stream_triage.records import Evidence, ReducedLine, SourceSummary
from stream_triage.settings import Settings
from stream_triage.sinks.archive import TextArchive
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.ue_events import events_of_failed_ues
from stream_triage.web.app import create_app
from tests.verdicts import make_verdict
from tests.web.browser.samples import JUDGED, SAMPLES, judged

__all__ = ["HOSTILE", "HOSTILE_RUN", "fill", "hostile_verdict", "served"]

START_SECONDS = 20.0
END_SECONDS = 2
DAYS = 9
HOSTILE = [
    "<script>window.pwned = 1</script></pre></code></style></script><img src=x onerror='window.pwned=1'>",
    "\x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\ \u202eright to left\u202c \x00 \x07",
    "x" * 1_000_000,
    "{{ 7 * 7 }} {% raw %} ${7*7} &lt; &amp; \u2028 ```",
]
HOSTILE_RUN = f"a/{HOSTILE[0]}{HOSTILE[1]}\n"


def hostile_verdict() -> Verdict:
    """All that a log, a header or a file name can put into a verdict is hostile."""
    texts = [text for text in HOSTILE for _ in range(2)]
    lines = tuple(ReducedLine(source=HOSTILE[0], number=i, text=text, why="rare") for i, text in enumerate(texts, 1))
    evidence = tuple(
        Evidence(kind="line", weight=2.0, source=HOSTILE[0], number=i, text=text) for i, text in enumerate(HOSTILE, 1)
    )
    return make_verdict(
        HOSTILE_RUN, label="L3", passed=False, rival="Pass", needs_review=True, review_reasons=(HOSTILE[0],),
        why=f"refused: {HOSTILE[0]} {HOSTILE[1]}", headers={HOSTILE[0]: HOSTILE[1], "test.case.name": HOSTILE[0]},
        reduction=lines, evidence=evidence, team=HOSTILE[0], time=JUDGED - timedelta(hours=1),
        sources=(SourceSummary(source=HOSTILE[0], lines=900, bytes=9, known_lines=9, folded_lines=8),),
    )  # fmt: skip


def fill(settings: Settings, triage: Triage, *, hostile: bool) -> None:
    """Stores nine nights: the test case passes, then it fails three times. Two other failures; if `hostile`, the attack."""
    nights = [("expected-reject.log", day) for day in range(DAYS - 1, 2, -1)] + [(SAMPLES[0], day) for day in (2, 1, 0)]
    with SqliteStore(settings.store.path) as store, TextArchive(settings.archive) as archive:
        for name, days_ago in [*nights, *((name, 0) for name in SAMPLES[1:3])]:
            verdict, session = judged(triage, name, days_ago)
            archive.write(verdict, session.text)
            store.write(verdict)
        if hostile:
            store.write(hostile_verdict())


@contextmanager
def served(folder: Path, *, hostile: bool = True) -> Iterator[str]:
    """Serves such a store from the folder, `hostile` runs included; the address has no slash at its end."""
    triage = Triage(Bundle.open(find_bundle("tm500")))
    model = next(iter(triage.models.values()))
    settings = Settings(store={"path": folder / "v.sqlite"}, archive={"folder": folder / "archive"})
    fill(settings, triage, hostile=hostile)
    courses_of = partial(events_of_failed_ues, model, most=10)
    app = create_app(settings, courses_of=lambda verdict, text: courses_of(text, verdict))
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=END_SECONDS
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + START_SECONDS
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        app.app.state.site.stopping.set()  # pages that are still open listen for changes
        server.should_exit = True
        thread.join(START_SECONDS)
        app.app.state.site.store.close()
