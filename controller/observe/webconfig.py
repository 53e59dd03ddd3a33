"""TLS and logins for the endpoint, in the format of Prometheus' exporters:

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. Of it there is `tls_server_config`
without cipher suites and curves, and `basic_auth_users`. What the file names is read anew when it changes.
"""

import base64
import hashlib
import logging
import re
import ssl
import threading
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

_log = logging.getLogger(__name__)

LARGEST = 2**20
"""Bytes of the file; a login has less than 200."""
KNOWN_LOGINS = 64
"""That have been right and are remembered, since bcrypt takes long by design: Prometheus comes again and again."""
_HASH = re.compile(r"\$2[aby]\$(0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}")
"""Of bcrypt, with a cost of at most 14: that takes a second."""
_NOBODY = "$2b$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
"""Hash of a password that nobody has: a user who is not known takes as long as one who is."""
_REQUIRED = "RequireAndVerifyClientCert"
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}

Stamp = tuple[tuple[int, int, int], ...]


class WebConfigError(Exception):
    """The file, or what it names, cannot be used; the message holds the path, the cause and the remedy."""


def _bcrypt(text: str) -> str:
    if not _HASH.fullmatch(text):
        raise ValueError("not a hash of bcrypt with a cost of 4 to 14; `htpasswd -nB -C 10 USER` makes one")
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


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
            raise ValueError(f"client_auth_type: {_REQUIRED} and client_ca_file belong together")
        if not demanded and not self.basic_auth_users:
            raise ValueError("anybody could read: add basic_auth_users, or client_auth_type and client_ca_file")
        return self


class WebConfig:
    """Who may ask, and with which certificate they are answered. `context` is for one thread, `admits` for several."""

    def __init__(self, file: Path) -> None:
        """Raises WebConfigError."""
        self._file = file
        self._known: set[bytes] = set()
        self._checking = threading.Lock()
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
        """Whether the header of a request names a user with the right password; always without users."""
        users = self._document.basic_auth_users
        if not users:
            return True
        name, password = _login(authorization)
        hashed = users.get(name, _NOBODY)
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
        """One at a time: whoever guesses keeps one processor busy, and no more."""
        from bcrypt import checkpw  # noqa: PLC0415 - only where there are logins

        with self._checking:
            try:
                return checkpw(password.encode(), hashed.encode())
            except ValueError:  # longer than bcrypt goes, or with a NUL
                return False

    def _stamped(self) -> Stamp:
        tls = self._document.tls_server_config
        named = filter(None, (tls.cert_file, tls.key_file, tls.client_ca_file))
        return tuple(map(_stamp, [self._file, *(self._file.parent / each for each in named)]))


def _stamp(file: Path) -> tuple[int, int, int]:
    """Changes with the file; all zeros while there is none."""
    try:
        found = file.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_ino, found.st_size


def _load(file: Path) -> tuple[_Document, ssl.SSLContext]:
    """Raises WebConfigError."""
    try:
        with file.open("rb") as content:
            text = content.read(LARGEST)
        read = yaml.safe_load(text)
        document = _Document.model_validate({} if read is None else read)
    except OSError as error:
        raise WebConfigError(
            f"--web-config-file {file}: {error.strerror}; name a file that Ballast may read"
        ) from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}".lstrip(": ") for each in error.errors())
        raise WebConfigError(f"--web-config-file {file}: {wrong}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise WebConfigError(f"--web-config-file {file}: not YAML: {' '.join(str(error).split())}") from error
    return document, _secured(document.tls_server_config, file)


def _secured(tls: _Tls, file: Path) -> ssl.SSLContext:
    """Raises WebConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    try:
        context.load_cert_chain(file.parent / tls.cert_file, file.parent / tls.key_file, password=lambda: "")
        if tls.client_ca_file is not None:
            context.load_verify_locations(file.parent / tls.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # ssl.SSLError is one
        named = ", ".join(filter(None, (tls.cert_file, tls.key_file, tls.client_ca_file)))
        cause = error.strerror or str(error)
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
