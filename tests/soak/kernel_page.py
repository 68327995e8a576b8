"""A page without a browser: what a front end sends to a kernel, and what it gets to see."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import psutil
from jupyter_client.manager import KernelManager
from jupyter_core.utils import ensure_event_loop

# A lesson makes its figures in a minute, and on a busy machine in many.
PATIENCE = 600
# glibc gives large arrays back to the system at once then, so that memory in use is what is needed.
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}


class Page:
    """A kernel, the state of its widgets as its messages tell it, and whatever went wrong in it.

    Messages of widgets go to a subshell, a second thread of the kernel, as those of JupyterLab do.
    """

    def __init__(self, folder: Path) -> None:
        self.log = folder / "kernel.log"
        self.models: dict[str, dict] = {}
        self.troubles: list[str] = []
        self._manager = KernelManager()
        with self.log.open("w") as log:
            self._manager.start_kernel(stderr=log, cwd=str(folder), env=os.environ | GIVE_BACK)
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=PATIENCE)
        self.process = psutil.Process(self._manager.provisioner.pid)
        request = self._client.session.msg("create_subshell_request")
        self._client.control_channel.send(request)
        self._subshell = self._client.get_control_msg(timeout=PATIENCE)["content"]["subshell_id"]

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        # The client has made an event loop for this thread.
        ensure_event_loop().close()

    def run(self, code: str) -> None:
        """Run a cell."""
        request = self._client.execute(code, store_history=False, allow_stdin=False)
        self._until_idle(request)
        self._reply(request)

    def value(self, expression: str):
        """Return the value of an expression made of plain numbers, words and containers."""
        asked = {"it": f"repr({expression})"}
        request = self._client.execute("", store_history=False, user_expressions=asked)
        self._until_idle(request)
        answer = self._reply(request)["content"]["user_expressions"]["it"]
        assert answer["status"] == "ok", answer
        return ast.literal_eval(ast.literal_eval(answer["data"]["text/plain"]))

    def send(self, model: str, data: dict) -> str:
        """Send a widget's message to the kernel, and return its id."""
        message = self._client.session.msg("comm_msg", {"comm_id": model, "data": data})
        message["header"]["subshell_id"] = self._subshell
        self._client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def move(self, model: str, **state) -> str:
        """Do what a front end does when the reader moves a control."""
        return self.send(model, {"method": "update", "state": state, "buffer_paths": []})

    def click(self, model: str) -> str:
        """Do what a front end does when the reader clicks a button."""
        return self.send(model, {"method": "custom", "content": {"event": "click"}})

    def wait_for(self, message: str) -> None:
        """Wait until the kernel has dealt with a message."""
        self._until_idle(message)

    def _reply(self, request: str) -> dict:
        while True:
            reply = self._client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == request:
                return reply

    def _until_idle(self, request: str) -> None:
        while True:
            message = self._client.get_iopub_msg(timeout=PATIENCE)
            content, kind = message["content"], message["msg_type"]
            if kind == "comm_open":
                self.models[content["comm_id"]] = {}
            if kind in ("comm_open", "comm_msg"):
                self._take(content, message["buffers"])
            elif kind == "comm_close":
                self.models.pop(content["comm_id"], None)
            elif kind == "error":
                self.troubles.append(f"{content['ename']}: {content['evalue']}")
            elif kind == "stream":
                self.troubles.append(f"{content['name']}: {content['text']}")
            done = kind == "status" and content["execution_state"] == "idle"
            if done and message["parent_header"].get("msg_id") == request:
                return

    def _take(self, content: dict, buffers: list) -> None:
        data = content["data"]
        if data.get("method", "update") not in ("update", "echo_update"):
            return
        state = data.get("state", {})
        for path, buffer in zip(data.get("buffer_paths", []), buffers, strict=True):
            state[path[0]] = bytes(buffer)
        self.models.setdefault(content["comm_id"], {}).update(state)
