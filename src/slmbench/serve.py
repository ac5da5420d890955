"""The verb `serve`: an exported model behind HTTP, with OpenAI's shapes, and a page to try it on."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from slmbench.core import KEY, BadInput, SlmbenchError
from slmbench.exported import Exported, load_exported
from slmbench.memory import usable_threads
from slmbench.remote import checked_key
from slmbench.serving.limits import Limits

if TYPE_CHECKING:
    from slmbench.serving.pool import Pool

PORT = 8077
BACKLOG = 128


def serve(
    model: Path, *, host: str = "127.0.0.1", port: int = PORT, key: str | None = None, workers: int = 1,
    threads: int | None = None, limits: Limits | None = None,
) -> None:  # fmt: skip
    """Serve a model until SIGINT or SIGTERM: what is being answered is finished, nothing new is taken.

    Args:
        model: the folder that `slmbench export` wrote.
        host: an address of this machine; only this machine reaches 127.0.0.1.
        port: 0 for any that is free.
        key: what clients show as a bearer; by default that of `SLMBENCH_API_KEY`, and where there is none, none.
        workers: answers at a time, each with a copy of the model.
        threads: of the processor for each; by default all cores divided.
        limits: of what a client may take.

    Raises BadInput where the folder is no model, or the place cannot be listened on; SlmbenchError where the libraries
    are not installed.
    """
    limits = limits or Limits()
    _check_bounds(workers, threads, limits)
    key = checked_key(os.environ.get(KEY, "") if key is None else key, f"--api-key or {KEY}")
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise SlmbenchError(f"{error.name} is not installed; pip install 'slmbench[serve]'.") from None
    exported = load_exported(model)
    listener = listen(host, port)
    try:
        from slmbench.serving.app import make_app
        from slmbench.serving.protocol import Patient

        pool = make_pool(exported, workers, threads, limits)
        app = make_app(exported, pool, limits, key=key, hosts=() if key else known_names(host))
        config = uvicorn.Config(
            app, http=Patient, ws="none", loop="asyncio", lifespan="off", access_log=False, log_config=None,
            server_header=False, proxy_headers=False, timeout_graceful_shutdown=int(limits.request_seconds) + 10,
        )  # fmt: skip
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="slmbench: %(message)s")
        _say(listener, exported, key)
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:  # uvicorn raises the signal that ended it again
            pass
        finally:
            signal.signal(signal.SIGTERM, before)
            pool.close(at_once=True)
    finally:
        listener.close()
    print("slmbench: ended.", file=sys.stderr, flush=True)


def make_pool(exported: Exported, workers: int, threads: int | None, limits: Limits) -> Pool:
    """So many workers, each with a copy of the model."""
    from slmbench.serving.pool import Pool

    each = threads or max(1, usable_threads() // workers)
    return Pool([exported.backend(each) for _ in range(workers)], limits.waiting)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises BadInput where it cannot."""
    if not 0 <= port <= 65535:
        raise BadInput(f"--port {port}: give a number from 0 to 65535.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError:
        raise BadInput(f"--host {host}: there is no such address; give one of this machine's.") from None
    # The protocol is named, since asyncio sends at once (TCP_NODELAY) only where it is: else answers wait 40 ms.
    listener = socket.socket(*found[:3])
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found[4])
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        said = {
            errno.EADDRINUSE: f"--port {port}: something listens there already; give another --port, or end that.",
            errno.EACCES: f"--port {port}: this user may not listen there; give one above 1023.",
            errno.EADDRNOTAVAIL: f"--host {host}: no address of this machine; give one that is.",
        }
        raise BadInput(said.get(error.errno or 0, f"{host}:{port}: {error.strerror}.")) from None
    return listener


def known_names(host: str) -> Collection[str]:
    """What a server that only this machine reaches is called; empty for one that others reach."""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host.lower() == "localhost"
    return {"localhost", "127.0.0.1", "::1", host.lower()} if local else ()


def _check_bounds(workers: int, threads: int | None, limits: Limits) -> None:
    for name, value in (("--workers", workers), ("--threads", threads or 1), ("--queue", limits.waiting)):
        if value < 1:
            raise BadInput(f"{name} {value}: give at least 1.")
    if limits.request_seconds <= 0:
        raise BadInput(f"--seconds {limits.request_seconds:g}: give more than 0.")


def _say(listener: socket.socket, exported: Exported, key: str) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"slmbench: {exported.manifest.get('name', 'model')} at http://{shown}:{port}/", file=sys.stderr, flush=True)
    if not key and not known_names(host):
        print(
            f"slmbench: other machines reach this, and no key is asked for; set {KEY} to ask for one.",
            file=sys.stderr, flush=True,
        )  # fmt: skip
