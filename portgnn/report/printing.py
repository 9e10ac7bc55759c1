"""A page as PDF, printed by a browser of this machine: what a reader sees is what a browser makes of it.

A library that prints HTML by itself (WeasyPrint, with Pango) would be a second reader of the page's styles to please.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from portgnn.errors import ConfigError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "msedge")
APPLICATIONS = tuple(
    f"/Applications/{name}.app/Contents/MacOS/{name}" for name in ("Google Chrome", "Chromium", "Microsoft Edge")
)
VARIABLE = "PORTGNN_BROWSER"
SECONDS = 120.0


def found_browser() -> str | None:
    """A browser of Chromium's kind: PORTGNN_BROWSER, else one on PATH, else a Mac's."""
    asked = os.environ.get(VARIABLE)
    return next(filter(None, map(shutil.which, [asked] if asked else (*NAMES, *APPLICATIONS))), None)


def browser() -> str:
    """`found_browser`, where there is one. Raises ConfigError."""
    asked, found = os.environ.get(VARIABLE), found_browser()
    if found is None:
        missing = f"{VARIABLE}={asked} is no program" if asked else "no Chromium, Chrome or Edge is on PATH"
        raise ConfigError(
            f"a PDF is printed by a browser, and {missing}; install one, name it ({VARIABLE}=PATH), or leave --pdf out"
        )
    return found


def printed(page: bytes) -> bytes:
    """The page as PDF. Raises ConfigError where there is no browser, or it prints nothing."""
    program = browser()
    with tempfile.TemporaryDirectory(prefix="portgnn-print-") as folder:
        source, made = Path(folder, "page.html"), Path(folder, "page.pdf")
        source.write_bytes(page)
        command = [
            program,
            "--headless",
            "--disable-gpu",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder}/profile",
        ]
        # Its sandbox refuses to work for root, who prints a page of this very process's making.
        command += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        try:
            subprocess.run(
                [*command, f"--print-to-pdf={made}", source.as_uri()], capture_output=True, timeout=SECONDS, check=False
            )
            result = made.read_bytes()
        except (OSError, subprocess.TimeoutExpired) as fault:
            raise ConfigError(f"{program} printed no PDF ({fault}); name another browser: {VARIABLE}=PATH") from None
    if not result.startswith(b"%PDF-"):
        raise ConfigError(f"{program} printed something that is no PDF; name another browser: {VARIABLE}=PATH")
    return result
