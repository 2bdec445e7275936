"""Start, stop, watch and show the servers."""

import fcntl
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace

from infra.services import automations, deployments, postgres, process, runs
from infra.services.servers import Service, base_environment, client_environment, services
from infra.services.settings import Home, Settings, check_free, load, load_secrets, save, unknown_names
from slimstream.core.errors import UserError
from slimstream.core.files import locked

PATIENCE = 300
"""Seconds that a server may take to start; long enough for a busy machine."""
KEEPER = "keeper.pid"
EVERY = 15.0
"""Seconds between two checks of the keeper."""
STOPS = 30.0
"""Seconds that the first process of a server may take to end."""
SIGNALS = {
    "postgres": signal.SIGINT,  # its fast shutdown, which does not wait for open connections
    "prefect": signal.SIGTERM,
    "mlflow": signal.SIGTERM,
    "worker": signal.SIGTERM,
    "watch": signal.SIGTERM,
}
"""The signal that ends each server, in the order of their start."""

Tell = Callable[[str], None]


def up(home: Home, log_line: Tell) -> None:
    """Start every server that does not run, wait until all are healthy, and deploy the flows.

    Running servers are not restarted. Raises UserError when a port is taken or a server does not start.
    """
    home.make()
    with locked(home.folder):  # a second command waits
        settings, found = _settings_and_services(home, log_line)
        dead = [service for service in found if process.leader(home.folder, service.name) is None]
        for service in dead:
            _make_room(home, service)
        save(home, settings)
        waiting: list[Service] = []
        for service in found:
            if service.name != "mlflow":  # it starts at the same time as Prefect
                _wait_until_well(home, waiting, log_line)
            if service in dead:
                log_line(f"Starting {service.title} …")
                service.prepare()
                process.start(
                    service.name, service.command, service.env, home.root, home.folder, service.user
                )
                waiting.append(service)
            elif service.healthy():
                waiting.append(service)
        _wait_until_well(home, waiting, log_line)
        secrets = load_secrets(home)
        if dead and (names := unknown_names(home)):
            log_line(f"{home.secrets}: nothing reads {', '.join(names)}; is the name right?")
        env = client_environment(home, settings, secrets)
        automations.ensure_automations(env, secrets)
        deployments.deploy(home, base_environment(home) | env)
        automations.ensure_retraining(env)


def down(home: Home, log_line: Tell) -> None:
    """End every server and all their processes, including runs, in the reverse order of their start."""
    if (keeper := _keeper(home)) is not None:
        os.kill(keeper, signal.SIGTERM)
        log_line(f"the keeper (process {keeper}) ends all servers …")
        while _keeper(home) is not None:
            time.sleep(0.2)
    if home.folder.exists():
        with locked(home.folder):
            _end_all(home, log_line)


def status(home: Home) -> tuple[list[tuple[str, str, str]], bool]:
    """One row per server (name, state, address), and whether all are healthy."""
    if not home.settings.exists():
        return [("services", "never started", "make up")], False
    rows, well = [], True
    for service in services(home, load(home), load_secrets(home)):
        running = process.leader(home.folder, service.name) is not None
        state = service.healthy() if running else "not running"
        well = well and not state
        rows.append((service.name, state or "healthy", service.where))
    return rows, well


def keep(home: Home, log_line: Tell) -> None:
    """Start all servers and restart those that die, until SIGTERM or SIGINT; then end all.

    Raises UserError when another process already does this.
    """
    home.make()
    with (home.folder / KEEPER).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"Process {_keeper(home)} keeps the servers of {home.folder} already.") from None
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
        _keep(home, log_line)


def _keep(home: Home, log_line: Tell) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while True:
            try:
                up(home, log_line)
                for log in home.logs.glob("*.log"):
                    process.shorten(log)
            except Exception as error:  # after any error the other servers are still watched
                log_line(f"{error or type(error).__name__} It will be tried again.")
            time.sleep(EVERY)
    except KeyboardInterrupt:
        pass
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        with locked(home.folder):
            _end_all(home, log_line)


def _keeper(home: Home) -> int | None:
    """Id of the process that runs `keep`: it locks the file that contains its id. None without one."""
    if not (home.folder / KEEPER).exists():
        return None
    with (home.folder / KEEPER).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(lock.read() or 0) or None
    return None


def _settings_and_services(home: Home, log_line: Tell) -> tuple[Settings, list[Service]]:
    """The settings to use from now on, and the servers for them. Raises UserError when they do not fit."""
    settings = load(home, os.environ)
    if not settings.database:
        why = postgres.missing(home)
        settings = replace(settings, database="sqlite" if why else "postgres")
        log_line(f"{why}: SQLite is used instead." if why else "PostgreSQL is found and used.")
    elif not home.settings.exists() and settings.database == "postgres" and (why := postgres.missing(home)):
        raise UserError(f"SLIMSTREAM_DATABASE is postgres, but {why}.")
    if home.settings.exists() and settings != (kept := load(home)):
        if settings.database != kept.database:
            raise UserError(
                f"The stored data are in {kept.database}; unset SLIMSTREAM_DATABASE, "
                f"or begin anew without {home.folder}."
            )
        if any(process.leader(home.folder, service) for service in SIGNALS):
            raise UserError("The servers run with other settings; `make down` first.")
    return settings, services(home, settings, load_secrets(home))


def _make_room(home: Home, service: Service) -> None:
    """End the remaining processes of a server that died, which may use its port.

    Raises UserError when another program uses the port.
    """
    if not service.remains:
        process.stop(home.folder, service.name)
    if service.port is not None:
        check_free(service.port, service.title, f"SLIMSTREAM_{service.name.upper()}_PORT")


def _wait_until_well(home: Home, waiting: list[Service], log_line: Tell) -> None:
    """Wait until all services in `waiting` are healthy, and empty the list. Raises UserError."""
    deadline = time.monotonic() + PATIENCE
    while waiting:
        service = waiting[0]
        wrong = service.healthy()
        if not wrong:
            log_line(f"{service.name:9} {service.where}")
            del waiting[0]
            continue
        if process.leader(home.folder, service.name) is None:
            log = home.log(service.name)
            raise UserError(
                f"{service.title} ended soon after its start; {log} says why: {process.last_line(log)}"
            )
        if time.monotonic() > deadline:
            process.stop(home.folder, service.name)  # otherwise it would count as running
            raise UserError(
                f"{service.title} {wrong} after {PATIENCE} s and was ended: {home.log(service.name)}."
            )
        time.sleep(0.3)


def _end_all(home: Home, log_line: Tell) -> None:
    _end_worker(home, log_line)
    for name, number in reversed(SIGNALS.items()):
        if process.stop(home.folder, name, number, STOPS):
            log_line(f"{name} ended")


def _end_worker(home: Home, log_line: Tell) -> None:
    """End the worker so that its runs can end cleanly and are started again by the next worker."""
    worker = process.leader(home.folder, "worker")
    if worker is None:
        return
    secrets = load_secrets(home)
    env = client_environment(home, load(home), secrets)
    found = {service.name: service for service in services(home, load(home), secrets)}
    try:
        if wrong := found["prefect"].healthy():
            raise UserError(f"the Prefect server {wrong}")
        begun = runs.running(env)
        # The worker would kill its runs; after SIGTERM a flow ends its stage and reports its state.
        process.end_children(worker, STOPS)
        process.stop(home.folder, "worker", patience=STOPS)
        log_line("worker ended")
        for name in runs.reschedule(env, {*begun, *runs.running(env)}):
            log_line(f"the run {name} starts again after the next `make up`")
    except Exception as error:  # after any error the worker is ended nevertheless
        log_line(f"Running flows will be marked Crashed: {error}")
        process.end_children(worker, STOPS)
