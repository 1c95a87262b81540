"""A name in, what its value is out: a password, a token, a key, an identity, or nothing to remove.

Names are read in parts, so that `DB_PASSWORD`, `dbPassword` and `db.password-2` mean the same. One part makes the name that
of a secret; a later part such as `file`, `length` or `type` says that the value only describes one.
"""

import re
from functools import lru_cache
from typing import Final

__all__ = ["is_key_name", "is_key_near", "is_other_hex", "name_before", "secret_kind", "words_of"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NAME_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PART: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", re.ASCII)
# The name that ends where a word of it was recognised: what precedes the word without a space.
_NAME_TAIL: Final = re.compile(r"[A-Za-z0-9_.$\[\]'\"-]{0,64}\Z", re.ASCII)

_PASSWORD_WORDS: Final = _words(
    """
    sshpass smtppass mailpass httppass proxypass sudopass mypass pgpass mysqlpass ftppass sftppass authpass bindpass
    rpcpass vpnpass wifipass loginpass encpass hostpass becomepass password passwords passwd passwrd passphrase
    passphrases passcode passwort kennwort pwd pswd psswd userpassword dbpassword rootpassword adminpassword userpass
    dbpass rootpass adminpass storepass keypass motdepasse contrasena senha requirepass masterauth masterpass ldappass
    """
)
_TOKEN_WORDS: Final = _words(
    """
    secret secrets token psk apikey accesskey secretkey authkey privatekey cred creds credential credentials credentialsecret
    clientsecret authtoken accesstoken refreshtoken bearer authorization passkey presharedkey sharedsecret apitoken
    apisecret sharedkey encryptionkey masterkey signingkey licensekey licencekey accountkey sessionkey
    """
)
# `key` alone is a word of every day; after one of these it is a secret.
_KEY_QUALIFIERS: Final = _words(
    """
    api access auth account private priv encrypt encryption decryption cipher ciphering integrity sign signing session
    master license licence storage subscription deploy service hmac aes des wpa wep ssh secret shared psk preshared
    pre jwt crypto admin app application client consumer root server user webhook write ingest integration maps stripe
    sendgrid mailgun fernet wireguard wg ike ipsec radius tacacs snmp bgp ospf isakmp vpn tls ssl rsa ecdsa ed25519
    dkim totp otp registration functions function instrumentation function_app cookie data datadog dd newrelic aws gcp
    azure google github gitlab openai anthropic twilio amplitude segment algolia sentry rollbar bugsnag honeycomb
    """
)
# Words that make a name that of a secret only at its end: `cookie.policy` and `otp_release` are none.
_LAST_WORDS_OF_NAMES: Final = _words(
    """
    cookie community rocommunity rwcommunity jwt crumb
    """
)
# Whose values are secret only if they look random.
_RANDOM_WORDS: Final = _words(
    """
    key auth sid session code pat sas signature otp totp webhook samlresponse samlrequest assertion ticket
    """
)
# The value of such a name describes a secret, or says where it is.
_DESCRIPTIONS: Final = _words(
    """
    file files filename path paths dir directory folder url uri urls endpoint host hostname port type types id ids kid
    name names len length size count num number min max limit policy policies expiry expires expire expired expiration
    exp ttl timeout age lifetime field fields label hint prompt reset change changed enabled disabled required require
    requires version ref reference algorithm alg algo encoder encoding provider manager store source scope scopes
    format usage index status state error errors valid validation validator ok present set helper handler callback
    class input inputs output link page form rules rule strength complexity rotation rotated created updated date time
    timestamp at in on by of from until after attempts attempt retries retry history column table model schema mapping
    mount arn bucket issuer audience subject header prefix suffix separator delimiter budget used rate cost generator
    auth_method method mode grant lookup check checks checker test tests spec template templates service server based
    authentication ed ing less protected rejects accepted contributions ring board stroke space word words per bag
    stream variable variables kind parser lexer ize izer ization ized balance price supply symbol address mint
    transfer
    """
)
_NOT_BEFORE: Final = _words(
    """
    public pub max min num total unk pad eos bos cls sep unexpected invalid next prev previous peek has is no without
    with skip bypass show hide check verify validate missing ask need needs use uses using last first cache primary
    foreign partition sort row object routing group dedup idempotency websocket socket error status exit return
    surrogate host expected restored restore requested
    """
)
_NOT_BEFORE_PASSWORD: Final = _words(
    """
    no has is without skip bypass max min num public pub show hide check verify validate missing ask need needs
    """
)
_PASS_NOT_AFTER: Final = _words(
    """
    by com tres sur tests test first second single multi one two sub under over en render shader last next num total
    did must should will all any high low band proxy build check full
    """
)


@lru_cache(maxsize=4096)
def _parts(name: str) -> tuple[str, ...]:
    return tuple(part.lower() for part in _PART.findall(name))


@lru_cache(maxsize=4096)
def words_of(name: str) -> list[str]:
    """The words of a name in small letters, without its digits.

    >>> words_of("dbPass.SIM_PIN2")
    ['db', 'pass', 'sim', 'pin']
    """
    return [word.lower() for word in _NAME_WORD.findall(name)]


def secret_kind(name: str) -> str | None:
    """`password` or `token` if the value of such a name is a secret, `random` if it is one that looks random, else None.

    >>> secret_kind("DB_PASSWORD"), secret_kind("clientSecret"), secret_kind("x-api-key")
    ('password', 'token', 'token')
    >>> secret_kind("password_file"), secret_kind("max_tokens"), secret_kind("publicKeyToken"), secret_kind("cacheKey")
    (None, None, None, None)
    """
    parts = _parts(name)
    for number in reversed(range(len(parts))):
        kind = _part_kind(parts, number)
        if kind is not None:
            before, after = parts[:number], parts[number + 1 :]
            if _DESCRIPTIONS.intersection(after) or (
                _NOT_BEFORE_PASSWORD if kind == "password" else _NOT_BEFORE
            ).intersection(before):
                return None
            return kind
    return None


def _part_kind(parts: tuple[str, ...], number: int) -> str | None:
    """What one part of a name makes of it, given the part before."""
    part, before = parts[number], parts[number - 1] if number else ""
    if (
        part in _PASSWORD_WORDS
        or part.endswith(("password", "passwd", "passphrase", "passwort"))
        or part == "pw"
        or (part == "pass" and before not in _PASS_NOT_AFTER)
        or (part in ("word", "phrase", "code", "wd") and before == "pass")
    ):
        return "password"
    if part in _LAST_WORDS_OF_NAMES:
        return "token" if all(later.isdigit() for later in parts[number + 1 :]) else None
    if part in _TOKEN_WORDS or (part.endswith(("secret", "token", "apikey", "psk")) and not part.startswith("lib")):
        return "token"
    if part == "key" and (
        before in _KEY_QUALIFIERS or (before.isdigit() and number > 1 and parts[number - 2] in _KEY_QUALIFIERS)
    ):
        return "token"
    return "random" if part in _RANDOM_WORDS and all(later.isdigit() for later in parts[number + 1 :]) else None


def name_before(text: str, start: int) -> str:
    """The part of a name that stands directly before a position."""
    tail = _NAME_TAIL.search(text, max(0, start - 64), start)
    return tail[0] if tail else ""


_KEY_WORDS: Final = _words(
    """
    k ki kc op opc op_c topc top ck ik sk kic kid kik kek tek dek kasme kamf kausf kseaf kgnb kenb kakma kaf msk emsk
    pmk ptk gtk psk key opckey kikey permanentkey secretkey authkey enckey mackey dekkey kenc kmac kdek masterkey
    sdkey subkey kstr opstr opcstr kikopc milenage secret ska ske skai skei skar sker skd skpi skpr transportkey
    transkey nh ks
    """
)
# Names of one or two letters mean a key only among parts that belong to one.
_SHORT: Final = _words(
    """
    nh ks k ki kc op ck ik sk top kid kik kic dek kek tek
    """
)
_BESIDE_SHORT: Final = _words(
    """
    value str string hex enc mac dek int nas rrc up usim uicc sim ue auth milenage tuak api new old raw bin security
    subscriber test key keys plain next hop ng ran re naf ext af c dec aut encr prf b64 base64 hash xor algo param
    star sec scp card prime my lab our this used old for
    """
)
# Parts and words that make a key a public one, or a value the id or digest of a key.
_NO_KEY: Final = _words(
    """
    public pub cache primary foreign hash hashes digest fingerprint id ids identifier commit object row sort partition
    routing build image signature thumbprint etag checksum file filename name path cert certificate tag tree index
    dedup idempotency lookup version gpg pgp socket websocket
    """
)
# What else has 32 or 64 hex digits, also on the line of a subscriber. Challenges and temporary identities stay on purpose.
_OTHER_HEX: Final = _NO_KEY | _words(
    """
    rev revision crc sum md sha nonce rand autn auts res iv mac sqn trace span parent uuid guid ref request
    correlation session blob layer random challenge response payload pdu msg message data dump bytes packet buffer nas
    rrc seed transaction tx block tmsi guti suci flow context ctx handle content body head baseline apn container xid
    traceparent sha1 sha256 md5 by instance subscription event job run task trigger process ue ran amf smf cell
    """
)
_FILLERS: Final = _words(
    """
    hexdump dump digits chars default field result now use in used = type len size bits bit n
    unhex unhexlify fromhex from_hex bytes.fromhex binascii.unhexlify hex bytes bytearray decode base64 b64 h x b e 0x
    value val is was to from set str string len length array binary byte uint8_t const char u8 unsigned new old now
    updated
    """
)
_MARKER: Final = re.compile(r"<[a-z][a-z0-9-]*(?::[0-9a-f]{8})?>")
_WORD: Final = re.compile(r"[A-Za-z0-9_.'*-]{0,48}\Z", re.ASCII)
_GAP: Final = 20


def _name_parts(word: str) -> tuple[str, ...]:
    return _parts(word.replace("OPc", "Opc"))


def _words_before(tail: str) -> tuple[str, str, bool]:
    """The name that a text ends with, the word before it, and whether a key was removed directly before.

    Words such as `UNHEX`, `value` and lengths are skipped; a marker ends the search, since it stands for another value.
    """
    tail = _MARKER.sub(lambda match: "\x01" if match[0] == "<key>" else "\x00", tail)
    for _ in range(6):
        end = len(tail)
        while end and end > len(tail) - _GAP and not (tail[end - 1].isalnum() or tail[end - 1] in "_\x00\x01"):
            end -= 1
        word = _WORD.search(tail, max(0, end - 48), end)
        name = word[0].strip("._'*-") if word else ""
        if not name:
            return "", "", tail[end - 1 : end] == "\x01"
        start = end - len(word[0]) if word else end
        if not all(part in _FILLERS for part in name.lower().split(".")) and not name.isdigit():
            before = _WORD.search(tail[:start].rstrip(" \t'\"(["))
            return name, before[0] if before else "", False
        tail = tail[:start]
    return "", "", False


@lru_cache(maxsize=4096)
def _is_key_word(name: str, before: str) -> bool:
    parts = _name_parts(name)
    if _NO_KEY.intersection(parts) or _NO_KEY.intersection(_name_parts(before)):
        return False
    if re.fullmatch(
        r"(?:s|c|dm)[-_]?(?:enc|mac|dek|rmac)|next_?hop(?:_?(?:nh|param(?:eter)?|value|key))?|auth_?data", name.lower()
    ) or (
        (before.lower(), name.lower())
        in (("auth", "data"), ("scp03", "keys"), ("scp02", "keys"), ("ota", "keys"), ("card", "keys"))
    ):
        return True
    if _SHORT.intersection(parts):
        return all(part in _SHORT or part in _BESIDE_SHORT or part.isdigit() for part in parts)
    return bool(_KEY_WORDS.intersection(parts) or name.lower() in _KEY_WORDS or (parts[-1:] and parts[-1].endswith("key")))


def is_key_name(tail: str) -> bool:
    """Whether a text ends with the name of a key, so that hex digits after it are one.

    >>> is_key_name("EncOpcKey:"), is_key_name("SET `OPc`=UNHEX('"), is_key_name("gp --key-enc ")
    (True, True, True)
    >>> is_key_name("cache key: "), is_key_name("public_key="), is_key_name("commit ")
    (False, False, False)
    """
    name, before, after_key = _words_before(tail)
    if name.lower() == "kid" and "kic" not in tail.lower():
        return False
    return after_key or (bool(name) and _is_key_word(name, before))


def is_other_hex(tail: str) -> bool:
    """Whether a text ends with a name that makes hex digits after it no key: a challenge, a digest, an id, a path."""
    if tail[-1:] in "/@#" and tail:
        return True
    name, before, _ = _words_before(tail)
    parts = (*_name_parts(name), *_name_parts(before))
    return bool(_OTHER_HEX.intersection(parts)) and not _is_key_word(name, before)


# Names that mean a key wherever they stand on a line; the short ones are only names as specifications spell them.
_SPELLED_SHORT: Final = frozenset(
    [
        "K",
        "Ki",
        "KI",
        "OP",
        "Op",
        "OPc",
        "OPC",
        "Opc",
        "CK",
        "IK",
        "NH",
        "Kc",
        "KC",
        "KIc",
        "KIC",
        "KID",
        "KIK",
        "KEK",
        "DEK",
        "MSK",
        "EMSK",
        "PMK",
        "PTK",
        "GTK",
        "PSK",
        "TOPc",
        "TOP",
        "TEK",
        "ki",
        "opc",
        "topc",
        "pmk",
        "msk",
        "emsk",
    ]
)
_NEAR_WORDS: Final = _words(
    """
    opc topc kasme kamf kausf kseaf kgnb kenb kakma msk emsk pmk ptk gtk psk opckey permanentkey secretkey authkey enckey
    mackey masterkey subkey milenage secret key keyset knasenc knasint krrcenc krrcint kupenc kupint opvalue opcvalue
    """
)
_ANY_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.'*-]*", re.ASCII)
_ASSIGNED: Final = re.compile(
    r"(?P<n>[A-Za-z0-9_.'*-]{1,48})[\"'\])]{0,3}[ \t]{0,8}[:=]{1,2}>?[ \t]{0,8}[\"'\[({]{0,3}\Z", re.ASCII
)
# Words that say what follows has been made from a key, or names it; and words that never stand beside one.
_NEVER_NEAR: Final = (
    _NO_KEY | _words("sha sha1 sha256 sha512 md5 uuid guid trace rand autn nonce cookie blob pdu payload packet")
) - {
    "id",
    "image",
    "lookup",
    "name",
    "index",
    "object",
    "version",
    "file",
    "identifier",
    "ids",
}
_MOST_WORDS: Final = 8


def is_key_near(tail: str) -> bool:  # noqa: PLR0911 - a word decides, or lets the one before it decide
    """Whether a text that ends without a name of its own has the name of a key among its last words.

    >>> is_key_near("Key for NAS ciphering ..... "), is_key_near("Deriving KRRCenc from "), is_key_near("K (32 digits): ")
    (True, True, True)
    >>> is_key_near("cache key for layer "), is_key_near("key ok, digest="), is_key_near("checking out ")
    (False, False, False)
    """
    if tail[-1:] in ("/", "@", "#"):
        return False
    assigned = _ASSIGNED.search(tail)
    if assigned and not _is_filler(assigned["n"]) and not _is_spelled(assigned["n"], _name_parts(assigned["n"])):
        return False
    seen = 0
    words = [word.strip("._'*-") for word in _ANY_WORD.findall(_MARKER.sub(" ", tail))]
    for number in reversed(range(len(words))):
        word, before = words[number], words[number - 1] if number else ""
        parts = _name_parts(word)
        if not parts or _is_filler(word):
            continue
        if _NEVER_NEAR.intersection(parts):
            return False
        if _is_spelled(word, parts):
            return not _NO_KEY.intersection((*parts, *_name_parts(before)))
        if seen == 0 and _OTHER_HEX.intersection(parts) - {"nas", "rrc", "ue", "ran", "cell", "by"}:
            return False
        seen += 1
        if seen >= _MOST_WORDS:
            return False
    return False


def _is_filler(word: str) -> bool:
    return not any(sign.isalpha() for sign in word) or all(part in _FILLERS for part in word.lower().split("."))


def _is_spelled(word: str, parts: tuple[str, ...]) -> bool:
    """Whether a word means a key without a value directly behind it."""
    if word in _SPELLED_SHORT or _NEAR_WORDS.intersection(parts):
        return True
    return (
        parts[-1].endswith("key")
        or (parts[0][:1] == "k" and bool(_KEY_WORDS.intersection(parts) - _SHORT))
        or bool(
            re.fullmatch(r"k_?(?:nas|rrc|up|n3iwf)_?(?:enc|int)|k_?(?:asme|amf|ausf|seaf|akma|[ge]nb)['*]?", word.lower())
        )
    )
