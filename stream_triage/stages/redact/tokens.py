"""Rules for tokens and password hashes that are recognised by their form, without a name."""

from typing import Final

from stream_triage.stages.redact.rule import RedactionRule, Trigger, triggers

__all__ = ["TOKEN_RULES"]

TOKEN_RULES: Final = (
    RedactionRule(
        "token-shape",
        "token",
        (
            *triggers(
                "akia",
                "asia",
                "_pat_",
                "xox",
                "xapp-",
                "pypi-ag",
                "aiza",
                "ya29.",
                "gocspx-",
                "secret",
                "hf_",
                "glsa_",
                "dop_v1_",
                "rubygems_",
                "atatt3",
                "pmak-",
                "oy2",
                "rdme_",
                "lin_api_",
                "pul-",
                "tfp_",
                "nvapi-",
                "figd_",
                "ntn_",
            ),
            *(Trigger(f"sq{kind}_") for kind in "pua"),
            Trigger("key-", r"[0-9a-f]{32}"),
            Trigger("sk", r"[0-9a-f]{32}"),
            Trigger("gr1348941"),
            Trigger("eaa", r"[a-z0-9]{40}"),
            *triggers("r8_", "dp.pt", "sbp_", "pscale_tkn", "glc_", "xai-", "gsk_", "pplx-", "fio-u-"),
            *(Trigger(f"gh{kind}_") for kind in "pousr"),
            *(Trigger(f"gl{kind}-") for kind in ("pat", "ptt", "dt", "rt")),
            Trigger("npm_", r"[a-z0-9]{30}"),
            *(Trigger(f"{kind}k_{of}_") for kind in "sr" for of in ("live", "test")),
            Trigger("sk-", r"[a-z0-9_-]{32}"),
            Trigger("sg.", r"[a-z0-9_-]{16}"),
            *(Trigger(f"shp{kind}_") for kind in ("at", "ca", "pa", "ss")),
            Trigger("hvs."),
            Trigger("hvb."),
        ),
        r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])|gh[pousr]_[A-Za-z0-9]{16,255}|github_pat_[A-Za-z0-9_]{22,255}"
        r"|gl(?:pat|ptt|dt|rt)-[A-Za-z0-9_.-]{16,255}|xox[abeoprs]-[A-Za-z0-9-]{10,255}|xapp-[A-Za-z0-9-]{10,255}"
        r"|npm_[A-Za-z0-9]{30,64}|pypi-Ag[A-Za-z0-9_-]{40,1024}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,1024}"
        r"|GOCSPX-[A-Za-z0-9_-]{20,64}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,255}|sk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,255}"
        r"|hf_[A-Za-z0-9]{30,64}|glsa_[A-Za-z0-9_]{32,64}|dop_v1_[a-f0-9]{32,128}|SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}"
        r"|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}|hv[sb]\.[A-Za-z0-9_-]{24,255}|dckr_pat_[A-Za-z0-9_-]{20,64}"
        r"|rubygems_[a-f0-9]{40,64}|ATATT3[A-Za-z0-9_=-]{20,255}"
        r"|AGE-SECRET-KEY-1[A-Z0-9]{40,80}|sq[pua]_[a-f0-9]{40}|PMAK-[a-f0-9]{24}-[a-f0-9]{34}|oy2[a-z0-9]{43}|rdme_[a-z0-9]{60,80}"
        r"|(?:lin_api|ntn|figd|tfp|nvapi|pul|r8|dp\.pt|sbp|pscale_tkn|glc|xai|gsk|pplx|fio-u)[_-][A-Za-z0-9_-]{30,255}"
        r"|EAA[A-Z][A-Za-z0-9]{40,255}|SK[a-f0-9]{32}|key-[a-f0-9]{32}|GR1348941[A-Za-z0-9_-]{20,64})(?![A-Za-z0-9])",
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
    RedactionRule(
        "webhook",
        "token",
        (Trigger("services/t"), Trigger("webhooks/"), Trigger("bot", r"[0-9]{8,10}:aa"), Trigger("webhook.office")),
        r"(?:slack\.com/services/|/webhooks/[0-9]{15,20}/|(?<![A-Za-z0-9])bot(?=[0-9]{8,10}:AA)|webhook\.office\.com/webhookb2/)"
        r"(?P<v>(?:[A-Za-z0-9_-]{8,16}/[A-Za-z0-9_-]{8,16}/)?[A-Za-z0-9_:@-]{16,256})",
        "anyone who has the address can write to the channel",
        (("hooks.slack.com/services/T0123ABCD/B0123ABCD/abcdefghij0123456789", "hooks.slack.com/services/<token>"),),
        ignore_case=False,
    ),
    RedactionRule(
        "password-hash",
        "password",
        (
            *(
                Trigger(f"${kind}")
                for kind in (
                    "1$",
                    "2$",
                    "3$",
                    "4$",
                    "5$",
                    "6$",
                    "7$",
                    "y$",
                    "2a$",
                    "2b$",
                    "2x$",
                    "2y$",
                    "gy$",
                    "apr1$",
                    "argon2",
                    "scrypt$",
                    "pbkdf2",
                    "p5k2",
                    "s0$",
                )
            ),
            Trigger("{ss"),
            Trigger("pbkdf2_"),
        ),
        r"(?<![A-Za-z0-9$])(?:\$(?:[1-7y]|2[abxy]|gy|apr1|argon2(?:id|i|d)|scrypt|pbkdf2[a-z0-9-]{0,12}|p5k2|s0)\$(?:[a-z0-9=,]{1,32}\$){0,3}"
        r"(?P<v>[./A-Za-z0-9+$=]{20,256})|\{S?SHA(?:256|512)?\}[A-Za-z0-9+/=]{20,128}|pbkdf2_sha[0-9]{1,3}\$[0-9]{1,8}\$[A-Za-z0-9+/$=]{30,128})",
        "a hash can be tried with lists of passwords",
        (("bob:$6$abcdefgh$0123456789abcdefghij0123456789:1:", "bob:$6$abcdefgh$<password>:1:"),),
        ignore_case=False,
    ),
    RedactionRule(
        "private-key-base64",
        "private-key",
        (Trigger("ls0tls1crudjti"),),
        r"(?<![A-Za-z0-9+/])LS0tLS1CRUdJTi(?!BDRVJU|BQVUJM|BUUlVT|BORVcg)[A-Za-z0-9+/]{20,65000}+={0,2}",
        "a private key in PEM, in base64 once more; certificates and public keys stay",
        (("data: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQo=", "data: <private-key>"),),
        ignore_case=False,
    ),
    RedactionRule(
        "ntlm-hash",
        "password",
        (Trigger(":::"), Trigger("", r"[0-9a-f]{32}:[0-9a-f]{32}", "run")),
        r"(?<=:)(?i:[0-9a-f]{32}):(?P<v>[0-9a-fA-F]{32}):::",
        "hashes of Windows accounts as tools dump them",
        ((f"bob:1001:{'a' * 32}:{'b' * 32}:::", f"bob:1001:{'a' * 32}:<password>:::"),),
        ignore_case=False,
    ),
    RedactionRule(
        "cookie-file",
        "token",
        (Trigger("\ttrue\t/"), Trigger("\tfalse\t/")),
        r"\t(?:TRUE|FALSE)\t/[^\t\n]{0,128}\t(?:TRUE|FALSE)\t[0-9]{1,12}\t[^\t\n]{1,128}\t(?P<v>[^\s<][^\s]{0,4096})",
        "the cookies of curl and wget",
        (
            (
                "lab.example\tFALSE\t/\tTRUE\t1764190378\tSID\tab12cd34",
                "lab.example\tFALSE\t/\tTRUE\t1764190378\tSID\t<token>",
            ),
        ),
        ignore_case=False,
    ),
    RedactionRule(
        "jenkins-secret",
        "token",
        (Trigger("aqaaab"),),
        r"(?<![A-Za-z0-9+/])AQAAAB[A-Za-z0-9+/]{24,4096}+={0,2}",
        "what Jenkins stores in its files",
        (("<a>{AQAAABAAAAAgabcdefghij0123456789abcd==}</a>", "<a>{<token>}</a>"),),
        ignore_case=False,
    ),
)
