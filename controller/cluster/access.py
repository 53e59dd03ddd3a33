"""Where the API server is and who we are to it: a kubeconfig, or the service account of the pod we run in."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kubernetes.client.configuration import Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config
from yaml import YAMLError

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
    except (YAMLError, TypeError, AttributeError):  # its words may quote the file, and so a credential
        raise _refused(kubeconfig, "not a kubeconfig") from None
    except (ConfigException, OSError, ValueError, KeyError) as error:
        raise _refused(kubeconfig, str(error).strip().rstrip(".")) from error
    return configuration


def _refused(kubeconfig: Path | None, cause: str) -> AccessError:
    place = "--kubeconfig" if kubeconfig is None else f"--kubeconfig {kubeconfig}"
    remedy = "name a kubeconfig that kubectl can use, or run in a pod with a service account"
    return AccessError(f"{place}: {cause}; {remedy}")
