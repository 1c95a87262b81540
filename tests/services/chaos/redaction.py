"""Lines and headers with secrets and subscriber identities, plain, coloured and escaped: none may leave the dead letters."""

import base64
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
RED, RESET = "\x1b[31m", "\x1b[0m"
# By name, how a line is coloured or escaped, from its part before the secret, the secret, and the part after it.
COLOURS: dict[str, Callable[[str, str, str], str]] = {
    "plain": lambda before, secret, after: before + secret + after,
    "code before the line": lambda before, secret, after: RED + before + secret + after,
    "coloured line": lambda before, secret, after: RED + before + secret + after + RESET,
    "coloured value": lambda before, secret, after: before + RED + secret + RESET + after,
    "reset at the end": lambda before, secret, after: before + secret + after + RESET,
    "coloured name": lambda before, secret, after: RED + before.rstrip("=: ") + RESET + before[len(before.rstrip("=: ")) :]
    + secret + after,
    "256 colours": lambda before, secret, after: "\x1b[38;5;196m" + before + "\x1b[1m" + secret + RESET + after,
}  # fmt: skip
LINES_OF_A_RUN = 24


@fault("secrets", 20, "no secret that docs/privacy.md names leaves the topic of dead letters, whatever its colour")
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
    name, colour = rng.choice(sorted(forms)), rng.choice(sorted(COLOURS))
    if kind == "form":
        secret = "Zq" + base64.b32encode(rng.randbytes(10)).decode().rstrip("=").lower() + "7X"
    elif kind == "identity":
        secret = f"00101{rng.randrange(10**9, 10**10)}"
    else:
        secret = rng.randbytes(16).hex()
    before, _, after = forms[name].partition("{}")
    before, after = before.replace("{{", "{").replace("}}", "}"), after.replace("{{", "{").replace("}}", "}")
    world.ledger.secrets[secret] = f"{name}, {colour}"
    return COLOURS[colour](before, secret, after)
