"""Rules for tokens and password hashes that are recognised by their form, without a name."""

from typing import Final

from stream_triage.stages.redact.rule import RedactionRule, Trigger

__all__ = ["TOKEN_RULES"]

TOKEN_RULES: Final = (
    RedactionRule(
        "token-shape",
        "token",
        (
            *(
                Trigger(word)
                for word in ("akia", "asia", "_pat_", "xox", "xapp-", "pypi-ag", "aiza", "ya29.", "gocspx-", "secret")
            ),
            *(Trigger(word) for word in ("hf_", "glsa_", "dop_v1_", "rubygems_", "atatt3", "slack.com/serv")),
            Trigger("gh", r"[pousr]_"),
            Trigger("gl", r"(?:pat|ptt|dt|rt)-"),
            Trigger("npm_", r"[a-z0-9]{30}"),
            Trigger("k_", r"(?:live|test)_"),
            Trigger("sk-", r"[a-z0-9_-]{32}"),
            Trigger("sg.", r"[a-z0-9_-]{16}"),
            Trigger("shp", r"[a-z]{2}_"),
            Trigger("hv", r"[sb]\."),
        ),
        r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])|gh[pousr]_[A-Za-z0-9]{16,255}|github_pat_[A-Za-z0-9_]{22,255}"
        r"|gl(?:pat|ptt|dt|rt)-[A-Za-z0-9_.-]{16,255}|xox[abeoprs]-[A-Za-z0-9-]{10,255}|xapp-[A-Za-z0-9-]{10,255}"
        r"|npm_[A-Za-z0-9]{30,64}|pypi-Ag[A-Za-z0-9_-]{40,1024}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,1024}"
        r"|GOCSPX-[A-Za-z0-9_-]{20,64}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,255}|sk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,255}"
        r"|hf_[A-Za-z0-9]{30,64}|glsa_[A-Za-z0-9_]{32,64}|dop_v1_[a-f0-9]{32,128}|SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}"
        r"|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}|hv[sb]\.[A-Za-z0-9_-]{24,255}|dckr_pat_[A-Za-z0-9_-]{20,64}"
        r"|rubygems_[a-f0-9]{40,64}|ATATT3[A-Za-z0-9_=-]{20,255}|hooks\.slack\.com/services/(?P<v>[A-Za-z0-9/]{16,128})"
        r"|AGE-SECRET-KEY-1[A-Z0-9]{40,80})",
        "tokens with a known beginning",
        (
            ("found ghp_0123456789abcdefghij0123456789abcdef", "found <token>"),
            ("id AKIAABCDEFGHIJKLMNOP", "id <token>"),
        ),
        ignore_case=False,
    ),
    RedactionRule(
        "jwt",
        "token",
        (Trigger("eyj"),),
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,8192}+(?:\.{1,2}[A-Za-z0-9_-]{1,16384}+){1,4}",
        "a JSON web token, signed or encrypted",
        (("got eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln!", "got <token>!"),),
        ignore_case=False,
    ),
)
