"""An authority of a cluster's own, and what it signs. Keys are P-256: made in milliseconds."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from lab.command import run

DAYS = "30"
"""Validity: longer than any lab lives."""
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
ADMINISTRATORS = "system:masters"
"""The group that may do everything."""


@dataclass(frozen=True, slots=True)
class CertificateIdentity:
    """A certificate and its private key, files in PEM."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates into `folder`, with openssl(1). Raises LabError when that is not installed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self._folder = folder
        self._own = self._identity("ca")
        request = ("req", "-x509", *CURVE, "-days", DAYS, "-subj", "/CN=ballast-lab")
        extensions = ("-addext", "keyUsage=critical,keyCertSign,digitalSignature")
        run("openssl", *request, *extensions, "-keyout", str(self._own.key), "-out", str(self.certificate))

    @property
    def certificate(self) -> Path:
        """What clients and servers trust."""
        return self._own.certificate

    def client(self, user: str, group: str | None = None) -> CertificateIdentity:
        """What proves to a server that one is `user`, member of `group`."""
        subject = f"/CN={user}" if group is None else f"/O={group}/CN={user}"
        return self._sign(user.replace(":", "-"), subject, "extendedKeyUsage=clientAuth")

    def server(self, name: str, addresses: list[str], hosts: list[str]) -> CertificateIdentity:
        """What proves to a client that this server is at `addresses`, known as `hosts`."""
        names = ",".join([*(f"IP:{address}" for address in addresses), *(f"DNS:{host}" for host in hosts)])
        return self._sign(name, f"/CN={name}", f"extendedKeyUsage=serverAuth\nsubjectAltName={names}")

    def signing_key(self, name: str) -> CertificateIdentity:
        """A key pair without a certificate: `certificate` is the public key."""
        pair = CertificateIdentity(self._folder / f"{name}.pub", self._folder / f"{name}.key")
        run("openssl", "genpkey", "-algorithm", "EC", *CURVE[2:4], "-out", str(pair.key))
        run("openssl", "pkey", "-in", str(pair.key), "-pubout", "-out", str(pair.certificate))
        return pair

    def _identity(self, name: str) -> CertificateIdentity:
        return CertificateIdentity(self._folder / f"{name}.crt", self._folder / f"{name}.key")

    def _sign(self, name: str, subject: str, extensions: str) -> CertificateIdentity:
        signed = self._identity(name)
        request = run("openssl", "req", *CURVE, "-keyout", str(signed.key), "-subj", subject)
        wanted = self._folder / f"{name}.ext"
        wanted.write_text(extensions)
        authority = ("-CA", str(self.certificate), "-CAkey", str(self._own.key), "-CAcreateserial", "-days", DAYS)
        run(
            "openssl",
            "x509",
            "-req",
            *authority,
            "-extfile",
            str(wanted),
            "-out",
            str(signed.certificate),
            stdin=request,
        )
        return signed


def kubeconfig(url: str, authority: Path, user: CertificateIdentity) -> str:
    """A kubeconfig (JSON, which is YAML) with everything in it: it works wherever it is copied to."""
    cluster = {"server": url, "certificate-authority-data": _base64(authority)}
    proof = {"client-certificate-data": _base64(user.certificate), "client-key-data": _base64(user.key)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "lab", "user": proof}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "current-context": "lab",
    }
    return json.dumps(config, indent=2)


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
