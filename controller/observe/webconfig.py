"""TLS and logins for the endpoint, in the format of Prometheus' exporters:

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. Of it there is `tls_server_config`
without cipher suites and curves, and `basic_auth_users`. What the file names is read anew when it changes.
"""

import base64
import hashlib
import logging
import re
import ssl
import stat
import threading
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from controller.api.printable import printable
from controller.api.problems import InvalidValueError, Problem, dotted
from controller.api.wording import explain

_log = logging.getLogger(__name__)

LARGEST = 2**18
"""Bytes of the file; a login has less than 200. Nobody is let in while it is read."""
MOST_ERRORS = 10
"""That are told at a time."""
CHECKS = 2
"""Logins that are being checked, or wait for that, at most: half of the threads that make answers stay for others."""
KNOWN_LOGINS = 64
"""That have been right and are remembered, since bcrypt takes long by design: Prometheus comes again and again."""
_HASH = re.compile(r"\$2[aby]\$(0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}")
"""Of bcrypt, with a cost of at most 14: that takes a second."""
_NOBODY = "$2b${cost}$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
"""Hash of a password that nobody has: with the cost of the users' own, one who is not known takes as long as they."""
_REQUIRED = "RequireAndVerifyClientCert"
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}

Stamp = tuple[tuple[int, int, int] | None, ...]


class WebConfigError(Exception):
    """The file, or what it names, cannot be used; the message holds the path, the cause and the remedy."""


class BusyError(Exception):
    """Too many logins are being checked to check one more."""


def _bcrypt(text: str) -> str:
    if not _HASH.fullmatch(text):
        remedy = "`htpasswd -nB -C 10 USER` makes one"
        raise InvalidValueError("", "not a hash of bcrypt with a cost of 4 to 14", remedy)
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Tls(_Strict):
    cert_file: str
    key_file: str
    client_auth_type: Literal["NoClientCert", "RequireAndVerifyClientCert"] = "NoClientCert"
    client_ca_file: str | None = None
    min_version: Literal["TLS12", "TLS13"] = "TLS12"


class _Document(_Strict):
    tls_server_config: _Tls
    basic_auth_users: dict[str, Annotated[str, AfterValidator(_bcrypt)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _closed(self) -> "_Document":
        demanded = self.tls_server_config.client_auth_type == _REQUIRED
        if demanded != (self.tls_server_config.client_ca_file is not None):
            wrong = f"client_auth_type: {_REQUIRED} and client_ca_file belong together"
            raise InvalidValueError("", wrong, "add the other one, or remove both")
        if not demanded and not self.basic_auth_users:
            raise InvalidValueError(
                "", "anybody could read", "add basic_auth_users, or client_auth_type and client_ca_file"
            )
        return self


class WebConfig:
    """Who may ask, and with which certificate they are answered. `context` is for one thread, `admits` for several."""

    def __init__(self, file: Path) -> None:
        """Raises WebConfigError."""
        self._file = file
        self._known: set[bytes] = set()
        self._checking = threading.Lock()
        self._checks = threading.BoundedSemaphore(CHECKS)
        self._document, self._context = _load(file)
        self._stamp = self._stamped()

    def context(self) -> ssl.SSLContext:
        """For the next client. What has changed and cannot be used is logged; what was before counts."""
        stamp = self._stamped()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._document, self._context = _load(self._file)
            except WebConfigError as error:
                _log.error("%s. What was there before still counts", error)
            else:
                self._known = set()
        return self._context

    def admits(self, authorization: str) -> bool:
        """Whether the header of a request names a user with the right password; always without users. Raises BusyError
        where that is not known yet and others are being checked.
        """
        users = self._document.basic_auth_users
        if not users:
            return True
        name, password = _login(authorization)
        hashed = users.get(name) or _NOBODY.format(cost=max(map(_cost, users.values())))
        key = hashlib.sha256(f"{name}\0{hashed}\0{password}".encode()).digest()
        known = self._known
        if key in known:
            return True
        if not self._right(password, hashed) or name not in users:
            return False
        if len(known) < KNOWN_LOGINS:
            known.add(key)
        return True

    def _right(self, password: str, hashed: str) -> bool:
        """One at a time: whoever guesses keeps one processor busy, and no more. Raises BusyError."""
        from bcrypt import checkpw  # noqa: PLC0415 - only where there are logins

        if not self._checks.acquire(blocking=False):
            raise BusyError
        try:
            with self._checking:
                return checkpw(password.encode(), hashed.encode())
        except ValueError:  # longer than bcrypt goes, or with a NUL
            return False
        finally:
            self._checks.release()

    def _stamped(self) -> Stamp:
        tls = self._document.tls_server_config
        named = filter(None, (tls.cert_file, tls.key_file, tls.client_ca_file))
        return tuple(map(_stamp, [self._file, *(self._file.parent / each for each in named)]))


def _cost(hashed: str) -> str:
    return hashed.split("$")[2]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """Changes with the file; None while there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _load(file: Path) -> tuple[_Document, ssl.SSLContext]:
    """Raises WebConfigError."""
    try:
        with file.open("rb") as content:
            text = content.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise WebConfigError(f"--web-config-file {file}: larger than {LARGEST} bytes; remove what is not needed")
        # All values are text: nothing in them is taken for a date, a number or a boolean.
        read = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - makes nothing but text, lists and mappings
        document = _Document.model_validate(read or {})
    except OSError as error:
        raise WebConfigError(
            f"--web-config-file {file}: {error.strerror}; name a file that Ballast may read"
        ) from error
    except ValidationError as error:
        wrong = "; ".join(_said(each) for each in error.errors(include_url=False)[:MOST_ERRORS])
        raise WebConfigError(f"--web-config-file {file}: {wrong}") from None  # it shows values, as does that below
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise WebConfigError(f"--web-config-file {file}: not YAML: {_cause(error)}; correct it") from None
    return document, _secured(document.tls_server_config, file)


def _cause(error: Exception) -> str:
    """What is wrong and where, without the text there: it may be a login."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return printable(f"line {error.problem_mark.line + 1}: {error.problem}")
    return printable(" ".join(str(error).split()))


def _said(error: ErrorDetails) -> str:
    """Field, value and remedy; no value where it may be a password in the wrong place, or a list of any size."""
    value = error["input"] if error["type"] == "literal_error" and isinstance(error["input"], str) else ""
    return str(Problem("", None, dotted(error["loc"]), value, *explain(error, _Document)))


def _secured(tls: _Tls, file: Path) -> ssl.SSLContext:
    """Raises WebConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    try:
        context.load_cert_chain(file.parent / tls.cert_file, key := file.parent / tls.key_file, password=lambda: "")
        if key.stat().st_mode & stat.S_IROTH:
            _log.warning("%s: every user of this host can read this key; chmod o-r it", printable(str(key)))
        if tls.client_ca_file is not None:
            context.load_verify_locations(file.parent / tls.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:  # ssl.SSLError is one; a path with a NUL
        named = printable(", ".join(filter(None, (tls.cert_file, tls.key_file, tls.client_ca_file))))
        cause = getattr(error, "strerror", "") or str(error)
        raise WebConfigError(
            f"--web-config-file {file}: {named}: {cause}; they must be PEM files of a certificate and its key"
        ) from error
    return context


def _login(authorization: str) -> tuple[str, str]:
    """User and password of `Basic ...`; empty where there are none."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:  # no base64, or no UTF-8
        return "", ""
    return name, password
