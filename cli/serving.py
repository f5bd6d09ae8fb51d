"""`lossatlas up`, `web` and `worker`: the running parts. Each is told the rest by LOSSATLAS_* variables."""

from __future__ import annotations

from pathlib import Path

import click

PORT = click.IntRange(0, 65535)


@click.command(short_help="Run everything, on this machine.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=PORT, default=8050, show_default=True, help="0 takes a free one.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Worker processes.  [default: one for each core, up to 4, or for each accelerator]",
)
@click.option("--data", type=click.Path(path_type=Path), envvar="LOSSATLAS_DATA", default=Path("data"), show_default=True)
@click.option("--open", "open_browser", is_flag=True, help="Open the address in a browser.")
def up(host: str, port: int, workers: int | None, data: Path, open_browser: bool) -> int:
    """Run web, workers and an embedded Valkey on this machine, and print the address. Ctrl-C stops all of them."""
    from app.supervisor import run  # noqa: PLC0415

    return run(host=host, port=port, workers=workers, data=data, open_browser=open_browser)


@click.command(short_help="Run the web server.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=PORT, default=8050, show_default=True)
def web(host: str, port: int) -> None:
    """Run the web server, with Redis, database and blobs by the URLs in the environment."""
    from app.main import run  # noqa: PLC0415
    from app.settings import AppSettings  # noqa: PLC0415

    run(AppSettings(), host, port)


@click.command(short_help="Run one worker.")
def worker() -> int | None:
    """Run one worker, with Redis and blobs by the URLs in the environment."""
    from worker.main import main  # noqa: PLC0415

    return main()
