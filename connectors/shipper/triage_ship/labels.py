"""Headers of a run: from flags, from the environment of a CI job, from the path of its log."""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from triage_ship.errors import ShipError

__all__ = ["FIELDS", "PathNames", "from_environment", "parse_header"]

# Groups of a path pattern, and the headers that they become; others keep their name.
FIELDS = {
    "test_case": "test.case.name",
    "test_suite": "test.suite.name",
    "version": "service.version",
    "testbed": "testbed",
}
# As GitLab, GitHub and Jenkins tell their jobs.
_CI = (
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
    """What the CI job says of itself, by OpenTelemetry's names; nothing outside of one.

    >>> from_environment({"JENKINS_URL": "http://ci", "JOB_NAME": "night", "BUILD_NUMBER": "7"})
    {'cicd.pipeline.run.id': '7', 'cicd.pipeline.name': 'night'}
    """
    told = os.environ if environment is None else environment
    for mark, names in _CI:
        if told.get(mark):
            return {header: told[name] for header, name in names.items() if told.get(name)}
    return {}


def parse_header(text: str) -> tuple[str, str]:
    """`name=value`."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise ShipError(f"--header {text!r} is not of the form name=value")
    return name.strip(), value


class PathNames:
    """What a regular expression with named groups reads out of a path: `run`, `source`, and headers."""

    def __init__(self, pattern: str | None) -> None:
        try:
            self._pattern = re.compile(pattern) if pattern else None
        except re.error as error:
            raise ShipError(f"--path-pattern is no regular expression: {error}") from None
        groups = self._pattern.groupindex if self._pattern else {}
        if self._pattern and not groups:
            raise ShipError("--path-pattern names no group; write (?P<run>...), (?P<source>...), (?P<test_case>...)")
        self.names_run = "run" in groups

    def read(self, path: Path) -> dict[str, str]:
        found = self._pattern.search(str(path)) if self._pattern else None
        return {name: value for name, value in found.groupdict().items() if value} if found else {}


def hostname() -> str:
    return socket.gethostname()
