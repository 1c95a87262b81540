"""Lines with secrets and subscriber identities, plain, coloured and escaped: none may leave the dead letters."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace

from tests.services.chaos.registry import fault
from tests.services.chaos.world import World
from tests.services.farm import messages_of

__all__: list[str] = []

# By name, a line with `{}` in the place of the secret.
FORMS = {
    "password": "db: password={} accepted",
    "pass in a URL": "GET http://10.0.0.1/login?user=a&password={} HTTP/1.1",
    "bearer token": "Authorization: Bearer {}",
    "token in a URL": "cloning https://ci:{}@git.example.com/lab.git",
    "JSON": 'request {{"user": "a", "password": "{}"}}',
    "key in YAML": "api_key: {}",
    "command line": "mysql --password={} --host db",
    "cookie": "Set-Cookie: session={}; Path=/",
}
IDENTITIES = {"IMSI": "attach of imsi-{}", "SUPI": "supi=imsi-{} registered", "IMSI in XML": "<imsi>{}</imsi>"}
KEYS = {"Ki": "Ki: {}", "OPc": "opc = {}", "K_AMF": "K_AMF={}"}
RED, RESET, BOLD = "\x1b[31m", "\x1b[0m", "\x1b[1m"
LINK, LINK_END = "\x1b]8;;http://10.0.0.1/\x1b\\", "\x1b]8;;\x1b\\"
ZERO_WIDTH = "\u200b"


def _coloured_name(before: str, secret: str, after: str) -> str:
    name = before.rstrip("=: ")
    return RED + name + RESET + before[len(name) :] + secret + after


# By name, what becomes of a line, from its part before the secret, the secret, and the part after it.
GUISES: dict[str, Callable[[str, str, str], str]] = {
    "plain": lambda before, secret, after: before + secret + after,
    "code before the line": lambda before, secret, after: RED + before + secret + after,
    "coloured line": lambda before, secret, after: RED + before + secret + after + RESET,
    "coloured value": lambda before, secret, after: before + RED + secret + RESET + after,
    "coloured name": _coloured_name,
    "256 colours": lambda before, secret, after: "\x1b[38;5;196m" + before + BOLD + secret + RESET + after,
    "hyperlink": lambda before, secret, after: before + LINK + secret + LINK_END + after,
    "no-break spaces": lambda before, secret, after: before.replace(" ", "\u00a0") + secret + after,
    "zero-width characters": lambda before, secret, after: (
        before[:3] + ZERO_WIDTH + before[3:] + secret + ZERO_WIDTH + after
    ),
    "JSON string": lambda before, secret, after: json.dumps({"log": before + secret + after}),
    "JSON in JSON": lambda before, secret, after: json.dumps({"log": json.dumps({"log": before + secret + after})}),
}
LINES_OF_A_RUN = 24


@fault("secrets", 20, "no secret that docs/privacy.md names leaves the topic of dead letters, in whatever guise")
def secrets(world: World) -> None:
    """A run with lines of all these forms among its own, and late lines with secrets; a worker dies while it has them."""
    run = world.new_run(lines=30)
    source = next(iter(run.sources))
    lines = [_secret_line(world) for _ in range(LINES_OF_A_RUN)]
    text = run.sources[source] + b"".join(line.encode() + b"\n" for line in lines)
    run = replace(run, sources={**run.sources, source: text})
    world.ledger.runs[run.run_id].run = run
    dies, step = world.rng.random() < 0.4, world.a_step()
    late = replace(messages_of(replace(run, sources={source: text}), end=False)[0][-1], headers={"source": source})
    world.need_worker()
    world.send_run(run)
    world.traffic()
    if dies:
        world.kill_at(step)
    world.need_worker(dying=0)
    if world.wait_for(run.run_id):
        world.send([late])


def _secret_line(world: World) -> str:
    """One line with a secret that the ledger knows from now on."""
    rng = world.rng
    kind = rng.choice(("form", "form", "identity", "key"))
    forms = {"form": FORMS, "identity": IDENTITIES, "key": KEYS}[kind]
    name, guise = rng.choice(sorted(forms)), rng.choice(sorted(GUISES))
    if kind == "form":
        secret = "Zq" + base64.b32encode(rng.randbytes(10)).decode().rstrip("=").lower() + "7X"
    elif kind == "identity":
        secret = f"00101{rng.randrange(10**9, 10**10)}"
    else:
        secret = rng.randbytes(16).hex()
    before, _, after = forms[name].partition("{}")
    before, after = before.replace("{{", "{").replace("}}", "}"), after.replace("{{", "{").replace("}}", "}")
    world.ledger.secrets[secret] = f"{name}, {guise}"
    return GUISES[guise](before, secret, after)
