"""One line in; whether a collector wrote it about its own work, such as `Started by timer` or `Finished: SUCCESS`, out.

The list is for lines around a log that say nothing about the run. What reports a failure (`Finished: FAILURE`, `exited with
code 139`) is not among them: it stays a line that models and people see. Sources: the console output of Jenkins and its
Pipeline plugin, of the GitHub Actions and GitLab runners, and of docker compose.
"""

import re
from typing import Final

__all__ = ["is_collector_line"]

_LINE: Final = re.compile(
    r"Started by .{1,200}|Running as SYSTEM|Running on [\w.-]{1,80} (?:in|via) .{1,200}|\[Pipeline\].{0,200}"
    r"|Obtained .{1,200} from git .{1,200}|Building (?:remotely |in workspace |on ).{1,300}"
    r"|Finished: SUCCESS|No emails were triggered\."
    r"|Attaching to [\w.-]{1,80}(?:, [\w.-]{1,80}){0,20}|(?:Container )?[\w.-]{1,100} exited with (?:code|status) 0"
    r"|Gracefully stopping\.\.\..{0,80}|Aborting on container exit\.\.\."
    r"|Running with gitlab-runner .{1,200}|Preparing (?:the \"[\w-]{1,40}\" executor|environment)"
    r"|Using .{1,40} executor with .{1,200}|Executing \"[\w-]{1,40}\" stage of the job script"
    r"|Getting source from Git repository|Cleaning up (?:project directory|file based variables).{0,80}|Job succeeded"
    r"|Current runner version: .{1,80}|Prepare (?:workflow directory|all required actions)|Getting action download info"
    r"|Complete job name: .{1,200}|Evaluate and set job outputs|Cleaning up orphan processes|Post job cleanup\."
    r"|Secret source: .{1,80}|Requested labels: .{1,200}|Job defined at: .{1,300}"
    r"|Waiting for a runner to pick up this job.{0,20}|Job is (?:about to start running|waiting for) .{1,200}"
)


def is_collector_line(body: str) -> bool:
    """Whether a line without its wrappers is one of these.

    >>> is_collector_line("Finished: SUCCESS"), is_collector_line("tm500-1 exited with code 0 ")
    (True, True)
    >>> is_collector_line("Finished: FAILURE"), is_collector_line("tm500-1 exited with code 139")
    (False, False)
    """
    return _LINE.fullmatch(body.strip()) is not None
