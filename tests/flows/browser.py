"""A person at a screen: Debian's Chromium, logged in at both servers of a box."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.box import Box

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = Path("/usr/bin/chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Browser:
    """One page for each server; `pictures` is where each look is kept."""

    box: Box
    page: "Page"
    pictures: Path
    looks: int = 0

    def prefect(self, path: str, *words: str, tab: str = "") -> str:
        """What the page at `path`, with one of its tabs opened, shows once all `words` are on it."""
        return self._look(self.box.env["PREFECT_API_URL"].removesuffix("/api") + path, words, tab)

    def mlflow(self, path: str, *words: str) -> str:
        return self._look(f"{self.box.env['MLFLOW_TRACKING_URI']}/#{path}", words)

    def log_in(self) -> None:
        """Prefect asks once, and only at its front door; for MLflow the browser answers."""
        self.page.goto(self.box.env["PREFECT_API_URL"].removesuffix("/api"))
        password = self.page.locator("input[type=password]")
        password.fill(self.box.env["PREFECT_API_AUTH_STRING"], timeout=60_000)
        self.page.keyboard.press("Enter")
        password.wait_for(state="detached")
        self.leave()

    def _look(self, url: str, words: tuple[str, ...], tab: str = "") -> str:
        self.page.goto(url)
        if tab:
            self.page.get_by_text(tab, exact=True).first.click(timeout=60_000)
        there = "word => document.body.innerText.replaceAll('\\u00a0', ' ').includes(word)"
        for word in words:
            self.page.wait_for_function(there, arg=word, timeout=60_000)
        self.page.wait_for_timeout(2000)  # tables fill a moment after their first row
        self.looks += 1
        self.page.screenshot(path=self.pictures / f"{self.looks}.png")
        shown = self.page.inner_text("body").replace("\u00a0", " ")
        self.leave()
        return shown

    def leave(self) -> None:
        """A page left open draws on, at a third of a core."""
        self.page.goto("about:blank")


@contextmanager
def browser(box: Box, pictures: Path) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    login = {
        "username": box.env["MLFLOW_TRACKING_USERNAME"],
        "password": box.env["MLFLOW_TRACKING_PASSWORD"],
    }
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        context = chromium.new_context(
            viewport={"width": 1500, "height": 1200},
            http_credentials=login,  # type: ignore[arg-type]
        )
        found = Browser(box, context.new_page(), pictures)
        found.log_in()
        yield found
        chromium.close()
