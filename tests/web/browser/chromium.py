"""A real browser for tests of pages, and what no page may do in it.

Needs Playwright (in the group `dev`) and Debian's chromium. axe-core, which looks for what people with disabilities cannot
use, comes from npm into `.cache/axe` at the first use; it is too large for this repository.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

__all__ = ["PHONE", "Unavailable", "Watched", "axe_violations", "chromium", "overflow"]

CACHE = Path(__file__).parents[3] / ".cache" / "axe"
AXE_VERSION = "4.14.1"
AXE_SHA512 = (
    "1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b73"
    "4f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5"
)
# The success criteria of WCAG up to version 2.2, levels A and AA.
WCAG_AA = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# A common phone, held upright, in CSS pixels.
PHONE = 390


class Unavailable(RuntimeError):
    """The browser or axe-core cannot be had on this machine; the message says what is missing."""


@contextmanager
def chromium() -> Iterator["Browser"]:
    """Debian's chromium, without a window."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise Unavailable("Playwright is missing; run: make setup") from None
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise Unavailable("chromium is missing; run: apt-get install chromium")
    with sync_playwright() as playwright:
        # Its sandbox refuses to work for root. The pages are our own.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=options)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page that remembers what it must not do: report errors, or ask another host for anything."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("console", lambda message: self._note(f"console {message.type}: {message.text}", message.type != "log"))
        page.on("pageerror", lambda error: self._note(f"error: {error}"))
        page.on("request", self._request)

    def _note(self, fault: str, bad: bool = True) -> None:
        if bad:
            self.faults.append(fault)

    def _request(self, request: "Request") -> None:
        here, asked = urlsplit(self.page.url), urlsplit(request.url)
        if here.scheme in ("http", "https", "file") and (here.scheme, here.netloc) != (asked.scheme, asked.netloc):
            self._note(f"request to another host: {request.url}")


def axe_violations(page: "Page") -> list[str]:
    """What axe-core finds on the page as it is now: rule and the elements. Raises `Unavailable` without axe-core."""
    page.evaluate(_axe())
    found: Any = page.evaluate("tags => axe.run(document, {runOnly: tags})", WCAG_AA)
    return [
        f"{violation['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"][:3]
    ]


def overflow(page: "Page") -> int:
    """By how many pixels the page is wider than its window, so that one would have to scroll sideways."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@cache
def _axe() -> str:
    script = CACHE / AXE_VERSION / "axe.min.js"
    if not script.exists():
        _fetch(script)
    return script.read_text(encoding="utf-8")


def _fetch(script: Path) -> None:
    """Downloads the package, compares its hash and keeps the one file."""
    script.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--pack-destination", folder, f"axe-core@{AXE_VERSION}"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"axe-core cannot be downloaded with npm: {error}") from None
        package = Path(folder) / f"axe-core-{AXE_VERSION}.tgz"
        if hashlib.sha512(package.read_bytes()).hexdigest() != AXE_SHA512:
            raise Unavailable(f"axe-core {AXE_VERSION} has another hash than the one in {__file__}")
        with tarfile.open(package) as archive:
            member = archive.extractfile("package/axe.min.js")
            assert member is not None
            partial = script.with_suffix(".partial")
            partial.write_bytes(member.read())
            partial.replace(script)
