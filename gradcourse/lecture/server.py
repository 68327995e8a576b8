"""The server of a lecture: Voila, with one page, one notebook and a token."""

from __future__ import annotations

import json
import logging
import secrets
import socket
import sys
import tempfile
import webbrowser
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_server.auth.identity import IdentityProvider
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from tornado.ioloop import IOLoop
from tornado.web import HTTPError
from voila.app import Voila
from voila.tornado.handler import TornadoVoilaHandler

from gradcourse.kernel import QUIET_KERNEL
from gradcourse.lecture.markdown import CODE_STYLES, to_html
from gradcourse.lecture.slides import Lecture, Slide

__all__ = ["serve"]

TEMPLATE = Path(__file__).parent / "template"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
# Nothing on the page may ask another host, and no other page may hold it in a frame.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "frame-ancestors 'none'; form-action 'self'"
)
# What ipywidgets 7 and 8 need, and no other extension of this machine's JupyterLab.
EXTENSIONS = [
    "@jupyter-widgets/jupyterlab-manager",
    "@voila-dashboards/widgets-manager7",
    "@voila-dashboards/widgets-manager8",
]


def serve(
    lecture: Lecture, *, host: str, port: int | None, browser: bool, scheme: str | None
) -> None:
    """Serve a lecture until it is interrupted.

    Parameters
    ----------
    lecture
        What is shown.
    host
        The address to listen on. Whatever it is, a request without the token is refused.
    port
        The port, or None for a free one.
    browser
        Whether a browser is opened.
    scheme
        ``"light"``, ``"dark"``, or None for what the browser prefers.
    """
    with tempfile.TemporaryDirectory(prefix="gradcourse-") as folder:
        path = Path(folder) / "lecture.ipynb"
        path.write_text(json.dumps(_notebook(lecture, scheme)), encoding="utf-8")
        server = _Server(
            notebook_path=str(path),
            root_dir=folder,
            connection_dir_root=folder,
            ip=host,
            port=port or 8866,
            port_retries=0 if port else 50,
            open_browser=False,
            token=secrets.token_hex(24),
            identity_provider_class=_TokenOnly,
            log_level=logging.ERROR,
            tornado_settings={
                "headers": {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"},
                # On loopback a name that leads here, but is not ours, is another page's trick.
                "allow_remote_access": host not in LOOPBACK,
                # Tornado refuses Jupyter's own default for this, and says so.
                "ws_ping_interval": 0,
            },
        )
        server.started = lambda: _announce(server, Path(folder), browser)
        server.initialize([])
        server.start()


class _ThisPython(KernelSpecManager):
    """The Python that runs the lecture, without its chatter, whatever kernels are installed."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        spec = super().get_kernel_spec(kernel_name)
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.argv = [*command, *QUIET_KERNEL]
        return spec


class _TokenOnly(IdentityProvider):
    """The token is the only way in; there is no page to log in."""

    def get_handlers(self) -> list[Any]:
        return []


class _Page(TornadoVoilaHandler):  # type: ignore[misc]
    def get_login_url(self) -> str:
        raise HTTPError(403)


class _Server(Voila):  # type: ignore[misc]
    started: Callable[[], None]

    def load_config_file(self, *_: Any, **__: Any) -> None:
        """Leave the files alone with which a reader has set up Voila for other pages."""

    def setup_template_dirs(self) -> None:
        settings = self.voila_configuration
        settings.allow_template_override = settings.allow_theme_override = "NO"
        settings.extension_allowlist = EXTENSIONS
        settings.file_allowlist = []
        settings.kernel_spec_manager_class = _ThisPython
        # Each figure comes to life as soon as its own cell has run.
        settings.progressive_rendering = True
        super().setup_template_dirs()
        self.template_paths.insert(0, str(TEMPLATE))

    def init_handlers(self) -> list[Any]:
        handlers = super().init_handlers()
        return [
            (one[0], _Page, *one[2:]) if one[1] is TornadoVoilaHandler else one for one in handlers
        ]

    def start(self) -> None:
        IOLoop.current().add_callback(self.started)
        super().start()


def _announce(server: _Server, folder: Path, browser: bool) -> None:
    query = f":{server.port}/?token={server.token}"
    here = "127.0.0.1" if server.ip in EVERYWHERE else server.ip
    address = f"http://{_in_url(here)}{query}"
    shown = f"http://{_in_url(_name_here())}{query}" if server.ip in EVERYWHERE else address
    print(f"The lecture is at\n\n    {shown}\n\nCtrl-C ends it.", flush=True)
    if browser:
        # A list of processes shows their arguments to everyone on this machine, but not a file.
        redirect = folder / "open.html"
        redirect.write_text(f'<meta http-equiv="refresh" content="0;url={address}">')
        webbrowser.open(redirect.as_uri())


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _name_here() -> str:
    """Return this machine's address in its network, or its name where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # An address that is kept for examples; nothing is sent to it.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])


def _notebook(lecture: Lecture, scheme: str | None) -> dict[str, Any]:
    """Return the notebook that Voila runs, with the slides in its metadata."""
    cells = [nbformat.v4.new_code_cell(source) for source in lecture.cells]
    shown = {
        "title": lecture.title,
        "scheme": scheme,
        "slides": [_html(slide) for slide in lecture.slides],
        "code_style": "\n".join(
            HtmlFormatter(style=style).get_style_defs(f"{where} .highlight")
            for where, style in zip(("", "[data-scheme=dark]"), CODE_STYLES, strict=True)
        ),
    }
    metadata = {"kernelspec": KERNEL, "lecture": shown}
    notebook: dict[str, Any] = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    return notebook


def _html(slide: Slide) -> dict[str, Any]:
    return asdict(slide) | {
        "text": to_html(slide.text),
        "predict": to_html(slide.predict),
        "words": to_html(slide.words) if slide.words else "",
        "code": highlight(slide.code, PythonLexer(), HtmlFormatter()) if slide.code else "",
    }
