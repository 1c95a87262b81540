"""Rules for SIM cards: what unlocks them (PIN, PUK, ADM), as text, commands and bytes, and an IMSI as a card stores it."""

from typing import Final

from stream_triage.stages.redact.rule import RedactionRule, Trigger, triggers

__all__ = ["CARD_RULES"]

_PIN_NAME = (
    r"(?:(?:sim|usim|card|user|universal|global|local|admin|unblock(?:ing)?|default|new|old)[_ -]?)?"
    r"(?:(?:pin|puk|chv)[12]?(?:[_ -]?(?:code|adm|value|number|no|hex)){0,2}|adm(?:in)?[1-9]?(?:[_ -]?(?:key|pin"
    r"|code|value|hex)){0,2})"
)
_PIN_REST = (
    r"(?:in)?[1-9]?(?:[_ -]?(?:code|adm|value|number|no|key|pin|hex)){0,2}(?:[ ]?[(\[][a-z0-9 ]{1,10}[)\]])?"
    r"[^a-z0-9\n]{1,16}(?:is[ ])?[\"']?[0-9a-f]{4}"
)
_BYTE = r"[ :]?[0-9a-f]{2}"

CARD_RULES: Final = (
    RedactionRule(
        "sim-pin",
        "password",
        (Trigger("at+c", r"(?:pin2?|pwd|lck)="),),
        r"at\+c(?:pin2?=|pwd=\\?\"?[a-z0-9]{2}\\?\"?,|lck=\\?\"?[a-z0-9]{2}\\?\"?,[0-2],)[ ]?\\?\"?"
        r"(?P<v>[0-9]{4,8}(?:\\?\"?,[ ]?\\?\"?[0-9]{4,8})?)(?![0-9])",
        "what unlocks the card; `AT+CPIN?` only asks",
        (('AT+CPIN="1234"', 'AT+CPIN="<password>"'), ("AT+CPIN?", "AT+CPIN?")),
    ),
    RedactionRule(
        "card-pin",
        "password",
        (Trigger("pin", _PIN_REST), Trigger("puk", _PIN_REST), Trigger("chv", _PIN_REST), Trigger("adm", _PIN_REST)),
        rf"(?<![a-z0-9]){_PIN_NAME}(?:[ ]?[(\[][a-z0-9 ]{{1,10}}[)\]])?"
        r"(?:[\"'\\\]]{0,3}[ \t]{0,8}(?:=>?|:|\||is[ ])[ \t]{0,8}[\"'\\\[]{0,3}|(?<=-[a-z0-9-]{3})[ \t]{1,4}[\"']?"
        r"|(?<=[nkv][12])[ \t]{1,4}|[ \t]{1,4}(?=[0-9]{8}(?![0-9]))|[ \t]{1,4}(?=0x3)|(?<=code)[ \t]{1,4}"
        r"|(?<=(?-i:[NKMV]))[ \t](?=[\"']?[0-9]{4})[\"']?|(?<=(?-i:[NKMV])[12])[ \t](?=[\"']?[0-9]{4})[\"']?)"
        r"(?P<v>[0-9]{4,8}|(?:0x)?(?:3[0-9]){4,8}(?:ff){0,4}|[0-9a-f]{16}|(?:3[0-9][ ]){3,7}3[0-9])(?![0-9a-z]|[.,:][0-9])",
        "a PIN has 4 to 8 digits; the number of a pin of a chip has fewer",
        (
            ("PIN1: 1234 PUK1: 12345678 ADM1: 81726354", "PIN1: <password> PUK1: <password> ADM1: <password>"),
            ("ADM1(hex): 3831373236333534", "ADM1(hex): <password>"),
            ("gpio pin: 17", "gpio pin: 17"),
        ),
    ),
    RedactionRule(
        "one-time-code",
        "token",
        (
            Trigger("otp", r"[^\n0-9]{1,16}[0-9]{6}"),
            *triggers("2fa", "mfa", rest=r"[^\n0-9]{1,16}[0-9]{6}"),
            Trigger("one", r"[ _-]?time[ _-]?(?:code|pass|pin)[^\n0-9]{1,16}[0-9]{6}"),
            Trigger("verification", r"[ _-]?code[^\n0-9]{1,8}[0-9]{6}"),
            Trigger("authentication", r"[ _-]?code[^\n0-9]{1,8}[0-9]{6}"),
        ),
        r"(?<![a-z0-9])(?:t?otp|[m2]fa|one[ _-]?time[ _-]?(?:code|pin|pass(?:word|code)?)"
        r"|(?:verification|authentication)[ _-]?code)"
        r"(?:[ _-](?:code|token|pin|value))?(?:[\"'\]]{0,2}[ ]{0,2}[:=]{1,2}[ ]{0,2}[\"']?|[ ](?:is|was)[ :]{1,2}|[ ])"
        r"(?P<v>[0-9]{6,8})(?![0-9a-z]|[.:][0-9])",
        "what a second factor asks for",
        (("OTP code is 234567", "OTP code is <token>"), ("otp=234567", "otp=<token>")),
    ),
    RedactionRule(
        "card-command",
        "password",
        (Trigger("verify_"), Trigger("chv"), Trigger("pysim")),
        r"(?:(?<![a-z])(?:verify|change|unblock|enable|disable)_(?:adm|chv"
        r"|pin)(?:[ \t]{1,4}--?[a-z-]{1,24})*+[ \t]{1,4}(?:[0-9]{1,2}[ \t]{1,4})?"
        r"|(?<![a-z])pysim[a-z-]{0,16}(?:\.py)?[ \t][^\n|;]{0,512}?[ \t](?:-a|--adm1?(?:-hex)?"
        r"|--pin-adm(?:-hex)?)[ \t=]{1,4})"
        r"[\"']?(?P<v>[0-9a-f]{4,16}(?:[ \t]{1,4}[0-9]{4,8})?)(?![0-9a-z])",
        "commands of pySim with the PIN or ADM as an argument",
        (
            ("verify_adm 81726354", "verify_adm <password>"),
            ("./pySim-prog.py -p 0 -t auto -a 81726354", "./pySim-prog.py -p 0 -t auto -a <password>"),
        ),
    ),
    RedactionRule(
        "card-code-near",
        "password",
        triggers("puk", "adm", rest=r"[^\n]{1,40}[0-9a-f]{8}"),
        r"(?<![a-z0-9])(?:puk|adm)(?:in)?[1-9]?(?![a-z])[^\n0-9<>]{1,24}(?:[0-9][0-9a-f]?[ ][^\n0-9<>]{0,16}|<password>/)?"
        r"(?<![0-9a-z.])(?P<v>[0-9]{8}|[0-9a-f]{16})(?![0-9a-z]|[.,:-][0-9])",
        "a PUK or ADM with other words before it",
        (("PUK for card 3 is 12345678", "PUK for card 3 is <password>"), ("ADM key 3132333435363738", "ADM key <password>")),
    ),
    RedactionRule(
        "apdu-verify",
        "password",
        (Trigger("", r"[0-9a-f]{26}", "run"), Trigger("", "", "bytes")),
        rf"(?<![0-9a-z])(?<![^0-9a-z][0-9a-f]{{2}}[ :])(?:0[0-9a-f]|8[0-9a-f]"
        rf"|a0)[ :]?(?:2[0468c])[ :]?0[0-3][ :]?[018][0-9a-f][ :]?(?:08|10)[ :]?"
        rf"(?P<v>[0-9a-f]{{2}}(?:{_BYTE}){{7}}(?:(?:{_BYTE}){{8}})?)(?![0-9a-f])",
        "VERIFY, CHANGE and UNBLOCK carry a PIN as 8 bytes (ETSI TS 102 221, clause 11.1)",
        (
            ("TX> 00 20 00 0A 08 38 31 37 32 36 33 35 34", "TX> 00 20 00 0A 08 <password>"),
            ('AT+CSIM=26,"0020000A083831373236333534"', 'AT+CSIM=26,"0020000A08<password>"'),
        ),
    ),
    RedactionRule(
        "card-imsi",
        "imsi",
        (Trigger("", r"08", "run"), Trigger("", r"08", "bytes"), Trigger("", r"0809[ :]?10", "run")),
        r"(?<![0-9a-z.])(?<![^0-9a-z][0-9a-f]{2}[ :])(?P<v>08(?:09[ :]?10|[ :]?09[ :]10"
        r"|[ :]?[2-79]9)(?:[ :]?[0-9]{2}){6,7})(?![0-9a-z])(?![ :][0-9a-f])",
        "an IMSI as a card stores it: its length, then two digits a byte, exchanged (3GPP TS 31.102, clause 4.2.2)",
        (('+CRSM: 144,0,"082943051000000042"', '+CRSM: 144,0,"<imsi>"'),),
    ),
    RedactionRule(
        "esim-activation",
        "token",
        (Trigger("lpa:1$"),),
        r"lpa:1\$[^\s$]{1,128}\$(?P<v>[a-z0-9-]{4,64})",
        "whoever has the activation code gets the profile (GSMA SGP.22, clause 4.1)",
        (("LPA:1$smdp.example$ABCD-1234", "LPA:1$smdp.example$<token>"),),
    ),
)
