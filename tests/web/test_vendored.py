"""What others wrote is in the repository as they published it, with its licence."""

import re
from hashlib import sha256
from pathlib import Path

from stream_triage.web.pages import STATIC

SCRIPT = (Path(__file__).parents[2] / "requirements" / "vendor.sh").read_text()
# Of dist/htmx.min.js in the package that requirements/vendor.sh names.
HTMX_SHA256 = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"


def test_htmx_is_as_published():
    """The version that the script fetches, not changed by anybody, with its licence."""
    script = (STATIC / "htmx.min.js").read_bytes()
    assert sha256(script).hexdigest() == HTMX_SHA256
    (version,) = re.findall(r"^version=(.*)$", SCRIPT, re.MULTILINE)
    assert f'version:"{version}"'.encode() in script
    assert "Zero-Clause BSD" in (STATIC / "htmx.LICENSE").read_text()
