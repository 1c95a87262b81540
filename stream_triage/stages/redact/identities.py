"""Rules for subscribers, devices and people: IMSI, IMEI, ICCID, telephone number, e-mail address."""

from typing import Final

from stream_triage.stages.redact.reasons import is_no_quantity, is_of_subscriber
from stream_triage.stages.redact.rule import RedactionRule, Trigger, triggers

__all__ = ["EMAIL", "IDENTITY_KINDS", "IDENTITY_RULES"]

IDENTITY_KINDS: Final = frozenset({"imsi", "imei", "msisdn", "iccid", "email"})
"""Kinds that become pseudonyms if there is a pseudonym key. Secrets never do: a short one could be guessed from it."""

# Between a name and its value: punctuation, quotes (escaped ones too), brackets. Bounded and possessive.
_GAP = r"(?:[(\[[0-9]{1,5}[)\]](?=[ ]{0,4}[:=])|[ \t\"'\\:=\[\](){<>,#|_-]|is[ ]){0,32}+"
# A pseudonym such as <imsi:12345678> looks like a name with its value.
_NOT_MARKER = r"(?!(?<=<)[a-z]{1,8}(?::[0-9a-f]{8})?>(?![0-9]))(?!(?<=<)[a-z]{1,8}:[0-9a-f]{8}>)"

# Mobile country codes in use (ITU-T E.212), and those of test networks.
_COUNTRY = (
    r"(?:001|901|999|2(?:0[2468]|1[234689]|2[012568]|3[0124578]|4[024678]|5[0579]|6[0268]|7[024678]|8[0234689]|9[0-57])"
    r"|3(?:0[28]|1[0-68]|3[0248]|4[02468]|5[02468]|6[0-68]|7[0246])|4(?:0[0-24-6]|1[02-9]|2[0-24-9]|3[0-24678]|4[01]|5[024-7]|6[0167]|7[02])"
    r"|5(?:0[25]|1[0-5]|2[058]|3[0-79]|4[0-9]|5[0-5])|6[0-5][0-9]|7(?:0[2468]|1[0246]|2[24]|3[02468]|4[02468]|50))"
)

IDENTITY_RULES: Final = (
    RedactionRule(
        "suci",
        "imsi",
        (Trigger("suci", r"[^a-z0-9\n]{1,4}[0-9]-"),),
        r"suci[^a-z0-9\n]{1,4}(?P<v>[0-9]-[0-9a-z.]{1,64}(?:-[0-9a-f]{1,512}){2,8})",
        "the null scheme carries the subscriber number in clear; others are opaque but belong to one subscriber",
        (("[suci-0-001-01-0000-0-0-0000000042] reject", "[suci-<imsi>] reject"),),
    ),
    RedactionRule(
        "imsi-named",
        "imsi",
        (Trigger("imsi"), Trigger("supi"), Trigger("msin"), Trigger("scheme", "[ _-]?output")),
        rf"{_NOT_MARKER}(?:imsi|supi|msin|scheme[ _-]?output)(?:s|[ _-]?(?:number|value|str|list|start|first|last"
        rf"|base|range|digits))?{_GAP}"
        r"(?P<v>[0-9]{3}[ .-][0-9]{2,3}[ .-][0-9]{9,10}|[0-9]{5,6}[ -][0-9]{9,10}|[0-9]{5,18})(?![0-9])",
        "the subscriber, whatever stands between the word and the digits",
        (
            ("IMSI=001010000000042, IMEISV=1", "IMSI=<imsi>, IMEISV=1"),
            ('"imsi": "001010000000042"', '"imsi": "<imsi>"'),
            ("[imsi-001010000000042:1:2]", "[imsi-<imsi>:1:2]"),
            ("UE IMSI:[00101042] gone", "UE IMSI:[<imsi>] gone"),
        ),
    ),
    RedactionRule(
        "imei-named",
        "imei",
        (Trigger("imei"),),
        rf"{_NOT_MARKER}imei(?:[ _-]?sv)?{_GAP}"
        rf"(?P<v>[0-9]{{2}}[ -]?[0-9]{{6}}[ -]?[0-9]{{6}}(?:[ -]?[0-9]{{1,2}})?|[0-9]{{8,18}})(?![0-9])",
        "the device, and with it its owner",
        (("IMEISV[0035609204079514]", "IMEISV[<imei>]"), ("imei-35-609204-079514-0", "imei-<imei>")),
    ),
    RedactionRule(
        "iccid-named",
        "iccid",
        (Trigger("iccid"),),
        rf"{_NOT_MARKER}iccid{_GAP}(?P<v>[0-9]{{10,22}}f?|[0-9]{{4}}(?:[ ][0-9]{{3,4}}){{3,4}})(?![0-9a-z])",
        "the SIM card, which identifies the subscriber",
        (("ICCID: 8900000000000000042F", "ICCID: <iccid>"),),
    ),
    RedactionRule(
        "msisdn-named",
        "msisdn",
        (
            *triggers("msisdn", "gpsi", "subscription-id-data", "tel:", "phone", "e.164", "e164"),
            Trigger("call", r"(?:ing|ed|er)"),
            Trigger("dial"),
        ),
        rf"{_NOT_MARKER}(?:msisdn|gpsi|subscription-id-data|(?<![a-z])tel(?=:)|phone(?:[ _-]?(?:number|no\.?))?"
        rf"|(?<![a-z0-9])e\.?164(?:[ _-]?number)?"
        r"|(?:call(?:ing|ed|er)|dial(?:l?ed|l?ing)?)(?:[ _-]?(?:party|number|id|line)){0,3}(?=[^0-9\n]{1,8}\+?[0-9]{9}))"
        rf"{_GAP}(?P<v>\+?[0-9]{{5,16}})(?![0-9])",
        "the telephone number",
        (("msisdn-491700000042", "msisdn-<msisdn>"), ("<tel:+491700000042>", "<tel:<msisdn>>")),
    ),
    RedactionRule(
        "identity-near-name",
        "imei",
        (
            Trigger("imei", r"[^\n]{0,32}[0-9]{14}"),
            Trigger("equipment", r"[^\n]{0,32}[0-9]{14}"),
            Trigger("mei", r"[ :=(][^\n]{0,32}[0-9]{14}"),
            Trigger("pei", r"[^\n]{0,32}[0-9]{14}"),
        ),
        r"(?<![a-z])(?:[a-z]{0,12}imei|equipment[ _.-]?id|pei|mei(?=[ :=(]))"
        r"[^\n<>]{0,32}?(?<![0-9a-z.])(?P<v>[0-9]{14,16})(?![0-9a-z.])",
        "a number of 14 to 16 digits on the right of the word, with whatever between them",
        (("SetImei 9 [356092040795140]", "SetImei 9 [<imei>]"),),
    ),
    RedactionRule(
        "imei-list",
        "imei",
        (Trigger("imei", r"(?::[0-9a-f]{8})?>[ ,/;|]{1,4}[0-9]{14}"),),
        r"<imei(?::[0-9a-f]{8})?>[ ,/;|]{1,4}(?P<v>[0-9]{14,16})(?![0-9a-z.])",
        "the second device of a list",
        (("IMEI: 356092040795140 / 860922040795141", "IMEI: <imei> / <imei>"),),
    ),
    RedactionRule(
        "imei-dotted",
        "imei",
        (Trigger("", r"(?:[0-9]\.){13}", "digits"),),
        r"(?<![0-9a-z.])(?P<v>(?:[0-9]\.){13,15}[0-9]?)(?![0-9a-z.])",
        "as Android prints it in a parcel",
        (("'3.5.6.0.9.2.0.4.0.7.9.5.1.4.0.'", "'<imei>'"),),
    ),
    RedactionRule(
        "identity-packed",
        "imsi",
        (
            Trigger("imsi", r"[^\n]{0,32}[0-9]{2}[ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[0-9]{2}"),
            Trigger("iccid", r"[^\n]{0,32}[0-9]{2}[ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[0-9]{2}"),
        ),
        r"(?<![a-z])(?:ef[._ ]?)?(?:imsi"
        r"|iccid)[^\n<>=]{0,32}?(?<![0-9a-z])(?:08[ :]?)?(?P<v>[0-9]{2}(?:[ :]?[0-9]{2}){6,8}[ :]?[0-9f]{2})"
        r"(?![0-9a-z])(?![ :][0-9a-f])",
        "an IMSI or ICCID with two digits a byte, exchanged",
        (("IMSI (BCD): 29 43 05 10 00 00 00 42", "IMSI (BCD): <imsi>"),),
    ),
    RedactionRule(
        "identity-digits",
        "imsi",
        triggers(
            "imsi",
            "supi",
            "imei",
            "msisdn",
            "iccid",
            rest=r"[^\n]{0,40}[0-9](?:[ ]?[ ,;.:-][ ]?|[ ]?[<>][^\n]{1,50}>)[0-9][^0-9]",
        ),
        r"(?:imsi|supi|imei|msisdn|iccid)[^\n]{0,40}?(?<![0-9])(?P<v>[0-9](?:(?:[ ]?[,;.:-][ ]?|[ ])[0-9]){12,19}"
        r"|[0-9](?:</[a-z-]{1,32}>[ ]?<[a-z-]{1,32}>[0-9]){5,19})(?![0-9])",
        "an identity digit by digit",
        (("IMSI digits: 0 0 1 0 1 0 0 0 0 0 0 0 0 4 2", "IMSI digits: <imsi>"),),
    ),
    RedactionRule(
        "identity-bytes",
        "imsi",
        (
            Trigger("imsi", r"[^\n]{0,40}[0-9]{2}[ :,-][ ]?(?:0x)?[0-9]{2}"),
            Trigger("mobile identity", r"[^\n]{0,24}[0-9]{2}[ :-]?[0-9]{2}"),
        ),
        r"(?:imsi|mobile[ ]identity)[^\n<>]{0,40}?(?:0x)?(?<![0-9a-wyz])(?P<v>[0-9]9(?:(?:[ :-]"
        r"|,[ ]?)?(?:0x)?[0-9]{2}){6}(?:[ :-]|,[ ]?)?(?:0x)?[0-9f]{2})"
        r"(?![0-9a-z])(?!(?:[ :-]|,[ ]?)(?:0x)?[0-9a-f]{2})",
        "an IMSI in the bytes of a mobile identity: an odd number of digits, exchanged (3GPP TS 24.301, clause 9.9.3.12)",
        (("Mobile identity: 09 10 10 00 00 00 00 24", "Mobile identity: <imsi>"),),
    ),
    RedactionRule(
        "iccid-of-modem",
        "iccid",
        (Trigger("ccid"),),
        r"(?<=ccid)[\"']?[ ]?[:= ][ ]{0,2}[\"']?(?P<v>89[0-9]{16,18}f?)(?![0-9a-z_.])",
        "a card by its issuer number (ITU-T E.118)",
        (("+QCCID: 8949000000000000042", "+QCCID: <iccid>"),),
    ),
    RedactionRule(
        "imei-of-modem",
        "imei",
        (Trigger("gsn", r"[\"']?[ ]?[:=]"), Trigger("", r"[0-9]{14,16}[ ]?[(\[]imei", "run")),
        r"(?:(?:(?<=[+^]gsn)|(?<=[+^]cgsn))[\"']?[ ]?[:=][ ]{0,2}[\"']?|(?<![0-9a-z.])(?=[0-9]{14,16}[ ]?[(\[]imei))"
        r"(?P<v>[0-9]{14,16})(?![0-9a-z_.])",
        "what a modem answers, and a device with its kind behind it",
        (("+CGSN: 356092040795140", "+CGSN: <imei>"),),
    ),
    RedactionRule(
        "sip-number",
        "msisdn",
        (Trigger("sip", r"s?:\+?[0-9]{7}"),),
        r"(?<![a-z])sips?:(?P<v>\+?[0-9]{7,15})(?=[@;>])",
        "the caller or the called, as a telephone number or an IMSI",
        (("INVITE sip:491700000042@10.0.0.1", "INVITE sip:<msisdn>@10.0.0.1"),),
    ),
    RedactionRule(
        "tm500-imsi",
        "imsi",
        (Trigger("+", r"(?<=[0-9]\+)[0-9]{1,9}[ ][23]\]"),),
        r"(?<=\[)(?P<v>[0-9]{5,16})(?=\+[0-9]{1,9}[ ][23]\])",
        "TM500 writes IMSI, increment and the length of the network code in brackets",
        (("USIMCONFIG 0 [0010142+1 2]", "USIMCONFIG 0 [<imsi>+1 2]"),),
    ),
    RedactionRule(
        "msisdn-grouped",
        "msisdn",
        (
            Trigger("+", r"[1-9][0-9]{0,5}[ -]\(?[0-9]"),
            Trigger("tel"),
            Trigger("mobile"),
            Trigger("fax"),
            Trigger("phone"),
            Trigger("msisdn"),
        ),
        r"(?:(?<![0-9a-z+._)\]-])\+|(?<![0-9a-z])(?:tel|phone|msisdn|mobile|fax)[a-z]{0,6}[.:=]{0,2}[ ]{1,2}(?=00)"
        r"|(?<![0-9a-z])(?:tel|phone|msisdn|mobile|fax)(?:[ ]?(?:number|no))?[.:=]{0,2}[ ]{1,2}"
        r"(?=0[1-9]|[1-9][0-9]{0,2}[ ][0-9]{2,4}[ ]))"
        r"(?=(?:[^0-9\n]{0,2}[0-9]){9,15}(?![0-9]))(?P<v>0{0,2}[1-9][0-9]{0,5}(?:[ /-]\(?[0-9]{2,11}\)?){1,5})"
        r"(?![0-9a-z]|[.:][0-9])",
        "an international number in groups",
        (("call +49 170 0000042 now", "call +<msisdn> now"),),
    ),
    RedactionRule(
        "eid",
        "iccid",
        (Trigger("", r"[0-9]{32}", "run"),),
        r"(?<![0-9a-z])(?P<v>89[0-9]{30})(?![0-9a-z])",
        "the eUICC (GSMA SGP.29)",
        (("EID 89049032000000000000000000000042", "EID <iccid>"),),
    ),
    RedactionRule(
        "nai-user",
        "imsi",
        (Trigger("user"), Trigger("nai"), Trigger("identity")),
        rf"(?<![a-z])(?:user[ _-]?(?:name|id)?|nai|identity){_GAP}0(?P<v>{_COUNTRY}[0-9]{{12}})(?![0-9a-z@])",
        "the user part of a network access identifier: a digit and the IMSI (3GPP TS 23.003, clause 19.3.2)",
        (("User-Name: 0001010000000042", "User-Name: 0<imsi>"),),
    ),
    RedactionRule(
        "msisdn-bare",
        "msisdn",
        (Trigger("+", r"[1-9][0-9]{9}"),),
        r"(?<![0-9a-z+._)\]-])(?P<v>\+[1-9][0-9]{9,14})(?![0-9a-z]|\.[0-9])",
        "an international number with its plus sign; offsets have one too",
        (("dial +491700000042 now", "dial <msisdn> now"), ("offset +4917000000 ns", "offset +4917000000 ns")),
        accept=is_no_quantity,
    ),
    RedactionRule(
        "imsi-bare",
        "imsi",
        (Trigger("", r"[a-f]?[0-9]{15}", "run"),),
        rf"(?:(?<![0-9a-z])|(?<=ue)|(?<=sub)|(?<=sim))(?<![0-9]\.)(?!2814749767106)(?P<v>{_COUNTRY}[0-9]{{12}})"
        r"(?![0-9a-z]|\.[0-9])",
        "15 digits that start with a country code, on a line that speaks of a subscriber; counters have as many digits",
        (
            ("attach 262010000000042 ok", "attach <imsi> ok"),
            ("done 001010000000042", "done <imsi>"),
            ("UE 1 rx_bytes 262010000000042", "UE 1 rx_bytes 262010000000042"),
            ("took 262010000000042 ns", "took 262010000000042 ns"),
        ),
        accept=is_of_subscriber,
    ),
)

EMAIL: Final = RedactionRule(
    "email",
    "email",
    (Trigger("@", r"(?<=[a-z0-9_.+%-]@)[a-z0-9-]+\."),),
    r"(?<![a-z0-9_.+%$-])(?!git@)(?P<v>[a-z0-9_.+%-]++"
    r"@(?!v?[0-9]+\.[0-9]|[23]x\.|[0-9a-f]{6,8}\.[a-z]{1,64}\()(?:[a-z0-9-]{1,63}+\.){1,8}"
    r"(?!(?:service|socket|target|timer|mount|scope|slice|png|jpe?g|gif|svg|js|ts|css|json|html)(?![a-z0-9]))"
    r"[a-z]{2,24})(?![a-z0-9])",
    "people, and subscribers written as network access identifiers",
    (("by Bob <bob@example.org>", "by Bob <<email>>"), ("git@example.org:a/b", "git@example.org:a/b")),
)
