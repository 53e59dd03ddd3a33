"""Where the API server is and who we are to it: a kubeconfig, or the service account of the pod we run in."""

import logging
import os
from base64 import b64encode
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import should_bypass_proxies
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config
from yaml import YAMLError

_log = logging.getLogger(__name__)

Load = Callable[[], Configuration]
"""Reads the access anew, with whatever has been rotated since. Raises AccessError."""


class AccessError(Exception):
    """There is no usable access; the message holds the file, the cause and the remedy."""


def access(kubeconfig: Path | None) -> Load:
    """How to reach the API server: by `kubeconfig`; else the pod's service account; else as kubectl would."""
    return partial(_load, kubeconfig)


def _load(kubeconfig: Path | None) -> Configuration:
    configuration = Configuration()
    try:
        if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
            load_incluster_config(client_configuration=configuration)
        else:
            file = None if kubeconfig is None else str(kubeconfig)
            load_kube_config(config_file=file, client_configuration=configuration)
        login, given, _ = urlsplit(proxy_of(configuration)).netloc.rpartition("@")
        if "@" in urlsplit(configuration.host).netloc:  # every message would tell it
            raise ValueError("its server has a login in its URL, which belongs to the fields of a user")
    except (YAMLError, TypeError, AttributeError):  # its words may quote the file, and so a credential
        raise _refused(kubeconfig, "not a kubeconfig") from None
    except (ConfigException, OSError, ValueError, KeyError) as error:
        raise _refused(kubeconfig, str(error).strip().rstrip(".")) from error
    if proxy_of(configuration).startswith("socks"):
        raise _refused(kubeconfig, "its proxy speaks SOCKS, which Ballast does not")
    if given:  # urllib3 sends none of itself
        configuration.proxy_headers = {"Proxy-Authorization": f"Basic {b64encode(unquote(login).encode()).decode()}"}
    if not configuration.verify_ssl:
        _say_unverified(str(configuration.host))
    return configuration


def proxy_of(configuration: Configuration) -> str:
    """URL of the proxy on the way to the API server, by kubeconfig or environment; empty without one."""
    if not configuration.proxy or should_bypass_proxies(configuration.host, configuration.no_proxy or ""):
        return ""
    return str(configuration.proxy)


@cache
def _say_unverified(server: str) -> None:
    """Once, however often the access is read."""
    _log.warning(
        "API server %s: its certificate is not verified, as the kubeconfig wants it (insecure-skip-tls-verify); who "
        "is in between can read the credentials and answer in its place: give the cluster a certificate-authority",
        server,
        extra={"fields": {"event": "cluster"}},
    )


def _refused(kubeconfig: Path | None, cause: str) -> AccessError:
    place = "--kubeconfig" if kubeconfig is None else f"--kubeconfig {kubeconfig}"
    remedy = "name a kubeconfig that kubectl can use, or run in a pod with a service account"
    return AccessError(f"{place}: {cause}; {remedy}")
