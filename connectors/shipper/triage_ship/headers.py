"""Command-line options, the environment of a CI job and the path of a log go in; headers of a run come out.

Names of headers follow OpenTelemetry's semantic conventions for tests and pipelines, where these have one.
"""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from triage_ship.errors import ShipError

__all__ = ["HEADER_OF_GROUP", "PathPattern", "from_environment", "hostname", "parse_header"]

# Named groups of --path-pattern with a short name, and their headers. Other groups become a header of their own name.
HEADER_OF_GROUP = {
    "test_case": "test.case.name",
    "test_suite": "test.suite.name",
    "version": "service.version",
    "testbed": "testbed",
}
# For each CI system: the variable that shows that a job runs there, and the variable for each header.
_CI_SYSTEMS = (
    ("GITLAB_CI", {"cicd.pipeline.run.id": "CI_PIPELINE_ID", "cicd.pipeline.task.run.id": "CI_JOB_ID",
                   "cicd.pipeline.task.name": "CI_JOB_NAME", "cicd.pipeline.run.url.full": "CI_JOB_URL",
                   "vcs.ref.head.revision": "CI_COMMIT_SHA", "vcs.ref.head.name": "CI_COMMIT_REF_NAME",
                   "host.name": "CI_RUNNER_DESCRIPTION"}),
    ("GITHUB_ACTIONS", {"cicd.pipeline.run.id": "GITHUB_RUN_ID", "cicd.pipeline.name": "GITHUB_WORKFLOW",
                        "cicd.pipeline.task.name": "GITHUB_JOB", "vcs.ref.head.revision": "GITHUB_SHA",
                        "vcs.ref.head.name": "GITHUB_REF_NAME", "host.name": "RUNNER_NAME"}),
    ("JENKINS_URL", {"cicd.pipeline.run.id": "BUILD_NUMBER", "cicd.pipeline.name": "JOB_NAME",
                     "cicd.pipeline.run.url.full": "BUILD_URL", "vcs.ref.head.revision": "GIT_COMMIT",
                     "vcs.ref.head.name": "GIT_BRANCH", "host.name": "NODE_NAME"}),
)  # fmt: skip


def from_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Headers from the variables of a CI job; empty outside of CI. Without an argument, the process environment is read.

    >>> from_environment({"JENKINS_URL": "http://ci", "JOB_NAME": "night", "BUILD_NUMBER": "7"})
    {'cicd.pipeline.run.id': '7', 'cicd.pipeline.name': 'night'}
    """
    variables = os.environ if environment is None else environment
    for indicator, names in _CI_SYSTEMS:
        if variables.get(indicator):
            return {header: variables[name] for header, name in names.items() if variables.get(name)}
    return {}


def parse_header(text: str) -> tuple[str, str]:
    """Splits `name=value`; raises `ShipError` if the name or the `=` is missing. The value may be empty."""
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise ShipError(f"--header {text!r} must have the form NAME=VALUE")
    return name.strip(), value


class PathPattern:
    """A regular expression with named groups, which reads the run, the source and headers from the path of a log.

    Args:
        pattern: The expression; None matches nothing.

    Raises:
        ShipError: The expression is invalid or has no named group.
    """

    def __init__(self, pattern: str | None) -> None:
        try:
            self._pattern = re.compile(pattern) if pattern else None
        except re.error as error:
            raise ShipError(f"--path-pattern is not a valid regular expression: {error}") from None
        if self._pattern and not self._pattern.groupindex:
            raise ShipError("--path-pattern has no named group; use (?P<run>...), (?P<source>...) or (?P<test_case>...)")

    def match(self, path: Path) -> dict[str, str]:
        """The groups that match anywhere in the path and are not empty; empty if the pattern does not match."""
        match = self._pattern.search(str(path)) if self._pattern else None
        return {name: value for name, value in match.groupdict().items() if value} if match else {}


def hostname() -> str:
    """The name of this machine, the first part of run ids that are made from paths."""
    return socket.gethostname()
