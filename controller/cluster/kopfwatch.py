"""kopf as our ears: it watches the policies and tells of each event. It writes nothing, anywhere.

kopf runs in a thread of its own with its own event loop. Its handlers are of the `on.event` kind, the only one for
which it needs neither finalizers nor annotations. Whatever ends it, it is started again; the control loop does not
notice.

Nor does it ever go on with a watch that ended. kopf would, from the version where it was; but what broke the watch may
have been a restore of the cluster from a backup, and a watch from a version that is yet to come hears nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, cast

import aiohttp
import kopf
from kubernetes.client.configuration import Configuration
from yarl import URL

from controller.cluster.access import AccessError, Load, proxy_of
from controller.cluster.boundedresponse import BoundedResponse
from controller.cluster.kopfstorage import NoStorage
from controller.cluster.resources import MEMORY_POLICIES, Object
from controller.cluster.retry import Retry
from controller.cluster.worker import Worker

_log = logging.getLogger(__name__)

LONGEST_S = 300.0
"""Most seconds until kopf is started again: the re-list does its work meanwhile, later."""
AWAY_S = 60.0
"""Seconds until kopf is started again while nobody answers; whoever lists finds out sooner, and restarts it."""
RAN_S = 60.0
"""Seconds after which a run counts as one that worked."""
BEGIN_S = 15.0
"""Seconds in which a run has begun to watch, a second or two on an API server that is well, or another begins: kopf
asks once which kinds there are, and an API server that has just been started misses ours for a moment."""
CONNECT_S = 5.0
"""Seconds to open a connection."""
REQUEST_S = 20.0
"""Seconds for any other request than a watch."""
ENDING_S = 5.0
"""Seconds kopf may take to end, before what it still does is cancelled once more; it takes some thousandths."""

BACKOFFS_S = (1, 2, 4, 8, 8, 8)
"""Seconds between kopf's tries of one request; its own go up to ten minutes."""

IDENTITY = cast(Any, "ballast")
"""For other operators, whom `standalone` does not tell. kopf would ask for the user's name, and uid 107 of agents for
KubeVirt has none.
"""

Tell = Callable[[str | None, Object], None]
"""Called with an event's type and the object; with None and nothing when a watch begins."""


Stop = Future[None]
"""Ends a run when it is cancelled, by any thread."""
Run = Callable[[Load, Tell, Stop], None]
"""As `run_kopf`: returns when it is to stop, or when kopf ends of itself; raises whatever ends it."""


class KopfWatch:
    """Runs kopf under supervision. `worker` is to be entered."""

    def __init__(
        self, load: Load, tell: Tell, ask: Callable[[], None], monotonic: Callable[[], float], run: Run
    ) -> None:
        """`ask` is called whenever kopf begins, or ended of itself: what it cannot tell has to be found out otherwise.

        That is also left to say that the API server does not answer.
        """
        self._load = load
        self._tell = tell
        self._ask = ask
        self._monotonic = monotonic
        self._run = run
        self._stop = Stop()
        self._retry = Retry("watching MemoryPolicies with kopf", LONGEST_S)
        self.worker = Worker("kopf", self._turn, self._interrupt)

    def restart(self) -> None:
        """End the present run and begin another: it may have started before there was anything to watch."""
        self._interrupt()
        self.worker.wake()

    def _turn(self) -> float:
        stop = self._stop = Stop()
        if self.worker.stopped:
            return 0.0
        began = self._monotonic()
        self._ask()
        try:
            self._run(self._load, self._tell, stop)
            cause, away = "ended of itself", False
        except Exception as error:  # whatever it is, kopf must not take the agent with it
            _log.debug("kopf failed", exc_info=error)
            cause = f"{type(error).__name__}: {error}"
            away = isinstance(error, (aiohttp.ClientConnectionError, TimeoutError))
        if stop.cancelled():
            return 0.0
        self._ask()  # also says what there is to say where nobody answers
        if away:
            return AWAY_S
        if self._monotonic() - began >= RAN_S:
            self._retry.worked()
        return self._retry.failed("ended", cause)

    def _interrupt(self) -> None:
        self._stop.cancel()


def run_kopf(load: Load, tell: Tell, stop: Stop) -> None:
    """Hear one watch, and end with it or when `stop` is cancelled. Raises whatever ends kopf before that."""
    logging.getLogger("kopf").setLevel(logging.CRITICAL)  # it says every failed attempt; we say it once
    asyncio.run(_operate(load, tell, stop))


async def _operate(load: Load, tell: Tell, stop: Stop) -> None:
    asyncio.get_running_loop().set_exception_handler(_leave)
    begun = asyncio.Event()

    def watching() -> None:
        if begun.is_set():
            stop.cancel()
        else:
            begun.set()
            tell(None, {})

    registry = _registry(load, watching, lambda *told: None if stop.cancelled() else tell(*told))
    operator = asyncio.create_task(
        kopf.operator(registry=registry, settings=_settings(), standalone=True, clusterwide=True, identity=IDENTITY)
    )
    ends = (operator, asyncio.wrap_future(stop))
    done, _ = await asyncio.wait(ends, timeout=BEGIN_S, return_when=asyncio.FIRST_COMPLETED)
    if begun.is_set():
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    elif not done:
        stop.cancel()
    await _end(operator)


async def _end(operator: "asyncio.Task[None]") -> None:
    """Wait until kopf has ended. Raises whatever ended it before.

    It cancels each of its tasks once, and waits for them for ever. A watch that is just being begun anew can swallow
    that, and would go on unheard (seen with 1.45).
    """
    operator.cancel()
    while not (await asyncio.wait((operator,), timeout=ENDING_S))[0]:
        for task in asyncio.all_tasks() - {operator, asyncio.current_task()}:
            task.cancel()
    if not operator.cancelled():
        await operator


def _leave(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """What tasks of kopf leave behind. asyncio would log each with a traceback; why a run ended is said anyhow."""
    _log.debug("left behind by kopf: %s", context["message"], exc_info=context.get("exception"))


def _registry(load: Load, watching: Callable[[], None], tell: Tell) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        configuration = _configuration(load)
        name = str(configuration.tls_server_name or "")
        return _session(_connection(configuration), name, watching)

    @kopf.on.event(
        MEMORY_POLICIES.group,
        MEMORY_POLICIES.version,
        MEMORY_POLICIES.plural,
        registry=registry,
        id="policy",
    )
    async def event(event: Any, **_: Any) -> None:
        if event["type"] is not None:  # else kopf has just listed it, as is done anyhow when a watch begins
            tell(event["type"], event["object"])

    return registry


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.diffbase_storage = settings.persistence.progress_storage = NoStorage()
    settings.process.ultimate_exiting_timeout = None  # else kopf kills the process some time after its own stop
    settings.networking.connect_timeout = CONNECT_S
    settings.networking.request_timeout = REQUEST_S
    settings.networking.error_backoffs = BACKOFFS_S
    return settings


def _session(connection: kopf.ConnectionInfo, server_name: str, watching: Callable[[], None]) -> kopf.AiohttpSession:
    """What kopf would make of the connection, with a word when a watch is asked for, and answers that have an end.

    `server_name` is the one in the server's certificate, if it is not that of its address.
    """

    async def started(_session: object, _context: object, asked: aiohttp.TraceRequestStartParams) -> None:
        if "watch" in asked.url.query:
            watching()

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(started)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=connection.as_ssl_context()),
        headers=connection.as_http_headers() | {"Accept-Encoding": "identity"},
        response_class=BoundedResponse,
        middlewares=[partial(_routed, server_name or None, URL(connection.proxy_url or ""))],
        trace_configs=[trace],
    )
    return kopf.AiohttpSession(server=connection.server, aiohttp_session=session)


async def _routed(
    server_name: str | None, proxy: URL, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Have the server's certificate judged by this name, and go through this proxy, if there is one."""
    request.server_hostname = server_name
    if proxy.host:  # apart from its login, as errors quote it
        request.update_proxy(proxy.with_user(None), aiohttp.BasicAuth.from_url(proxy, encoding="utf-8"), None)
    return await handler(request)


def _configuration(load: Load) -> Configuration:
    try:
        return load()
    except AccessError as error:
        raise kopf.PermanentError(str(error)) from error


def _connection(configuration: Configuration) -> kopf.ConnectionInfo:
    settings = cast(Mapping[str, Any], configuration.auth_settings())
    header = next((str(each["value"]) for each in settings.values()), "")
    scheme, _, token = header.partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        scheme=scheme.capitalize() or None,
        token=token or None,
        proxy_url=proxy_of(configuration) or None,
    )
