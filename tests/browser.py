# SPDX-License-Identifier: Apache-2.0
"""A real headless browser, if one is installed: Chromium, spoken to through its DevTools pipe, without any library."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATH = next((path for path in map(shutil.which, NAMES) if path), None)

CONNECT = """
import fcntl, os, sys
command, answer = (fcntl.fcntl(int(pipe), fcntl.F_DUPFD, 10) for pipe in sys.argv[1:3])
os.dup2(command, 3)
os.dup2(answer, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads commands from 3 and answers at 4."""

KEY_CODES = {"ArrowDown": 40, "ArrowUp": 38, "Home": 36, "End": 35, "Escape": 27}


class Browser:
    """One window; a context manager.

    Args:
        width: of the window.
        height: likewise.
        dark: whether pages are told that their reader prefers dark.
    """

    def __init__(self, width: int = 1440, height: int = 900, dark: bool = False) -> None:
        self._size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._scheme = "dark" if dark else "light"

    def __enter__(self) -> "Browser":
        self._home = TemporaryDirectory(prefix="browser")
        read_ours, write_theirs = os.pipe()
        read_theirs, write_ours = os.pipe()

        command = [PATH, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--remote-debugging-pipe", f"--user-data-dir={self._home.name}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", CONNECT, str(read_theirs), str(write_theirs), *command],
            pass_fds=(read_theirs, write_theirs),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_theirs)
        os.close(write_theirs)
        self._write, self._read = os.fdopen(write_ours, "wb", 0), os.fdopen(read_ours, "rb", 0)
        self._number, self._rest, self._session = 0, b"", None
        self.requests: list[str] = []
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", **self._size)
        features = [{"name": "prefers-color-scheme", "value": self._scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=self._home.name)
        return self

    def __exit__(self, *_: object) -> None:
        self._write.close()
        self._process.terminate()
        self._process.wait()
        self._read.close()
        self._home.cleanup()

    @property
    def downloads(self) -> Path:
        """Where saved files go."""
        return Path(self._home.name)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, and its result; the addresses of requests are kept meanwhile."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._answer()
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _answer(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            read = self._read.read(1 << 16)
            assert read, "The browser has ended."
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def open(self, page: Path) -> None:
        """Load a file and wait until it is there."""
        self.requests.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until it is true; ten seconds at most."""
        self.run(
            "new Promise((done, fail) => { const end = Date.now() + 10000; const look = () => "
            f"({condition}) ? done(1) : Date.now() > end ? fail('never') : setTimeout(look, 20); look(); }})"
        )

    def press(self, key: str) -> None:
        """A key of the keyboard."""
        code = KEY_CODES.get(key, ord(key[0].upper()))
        text = {} if len(key) > 1 else {"text": key}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def picture(self, path: Path) -> None:
        """A png of the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
