"""Somebody who works in the admin, and what their browser must not do meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from django.contrib.auth.models import User
from django.test import Client

if TYPE_CHECKING:
    from playwright.sync_api import (
        BrowserContext,
        ConsoleMessage,
        Dialog,
        Locator,
        Page,
        Response,
    )

PATIENCE_MS = 10_000
LOUD = ("warning", "error", "assert")


class Visitor:
    """A browser profile with one page.

    `clicks`: those that led to another page.
    `troubles`: requests to anywhere but the site, dialogs, errors of scripts, messages
    of the console above a mere note, answers of 500 and more.
    """

    def __init__(
        self, context: BrowserContext, origin: str, user: User | None = None
    ) -> None:
        self.troubles: list[str] = []
        self.asked: list[str] = []
        self.clicks = 0
        self._origin = origin
        self._forgiven: list[str] = []
        context.set_default_timeout(PATIENCE_MS)
        context.on("request", lambda request: self._note_request(request.url))
        context.on("response", self._note_response)
        context.on("dialog", self._note_dialog)
        context.on("weberror", lambda error: self._note(f"script: {error.error}"))
        context.on("console", self._note_console)
        if user is not None:
            self._bring_session(context, user)
        self.page: Page = context.new_page()

    def open(self, path: str) -> Page:
        answer = self.page.goto(path)
        assert answer is not None
        assert answer.ok, f"{path}: {answer.status}"
        # Of what is not there the admin speaks on its first page.
        assert self.page.url == urljoin(self._origin, path)
        return self.page

    def press(self, name: str, *, within: Locator | None = None) -> None:
        """Follow the link or push the button of this name, whichever there is."""
        self.follow(self._named(name, within))

    def choose(self, name: str) -> None:
        """Of the menu beside the first button; opening it is a click of its own."""
        self.clicks += 1
        self.page.locator(".combat-menu summary").click()
        self.press(name, within=self.page.locator(".combat-menu"))

    def follow(self, place: Locator) -> None:
        self.clicks += 1
        with self.page.expect_navigation():
            place.click()

    def enter(self) -> None:
        """Send the form that is being written in."""
        self.clicks += 1
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")

    def press_in_vain(self, name: str) -> None:
        """The browser itself sees that the form is not filled in."""
        self._named(name, None).click()
        assert self.page.locator("form :invalid").count() > 0

    def text(self) -> str:
        """What can be read on the page; closed folds are not."""
        return " ".join(self.page.locator("#container").inner_text().split())

    def post(self, path: str, fields: dict[str, str]) -> int:
        """A form that no page offered, sent by the page's own script."""
        script = """
            async ([path, fields]) => {
                const cookie = document.cookie.match(/csrftoken=([^;]+)/);
                const response = await fetch(path, {
                    method: "POST",
                    headers: {"X-CSRFToken": cookie[1]},
                    body: new URLSearchParams(fields),
                });
                return response.status;
            }"""
        status: int = self.page.evaluate(script, [path, fields])
        return status

    def forgive(self, words: str) -> None:
        """This test provokes a message with these words in the console."""
        self._forgiven.append(words)

    def keep(self, folder: Path, number: int) -> None:
        picture = folder / f"page-{number}.png"
        source = picture.with_suffix(".html")
        self.page.screenshot(path=picture, full_page=True)
        source.write_text(self.page.content(), encoding="utf-8")
        print(f"{self.page.url} is kept in {picture} and {source}")  # noqa: T201

    def _named(self, name: str, within: Locator | None) -> Locator:
        place = within or self.page.locator("#container")
        link = place.get_by_role("link", name=name, exact=True)
        return link.or_(place.get_by_role("button", name=name, exact=True))

    def _bring_session(self, context: BrowserContext, user: User) -> None:
        client = Client()
        client.force_login(user)
        value = client.cookies["sessionid"].value
        context.add_cookies(
            [{"name": "sessionid", "value": value, "url": self._origin}]
        )

    def _note(self, trouble: str) -> None:
        if not any(words in trouble for words in self._forgiven):
            self.troubles.append(trouble)

    def _note_request(self, url: str) -> None:
        self.asked.append(url)
        if not url.startswith((f"{self._origin}/", "data:")):
            self._note(f"asked elsewhere: {url}")

    def _note_response(self, response: Response) -> None:
        if response.status >= 500:
            self._note(f"{response.status}: {response.url}")

    def _note_dialog(self, dialog: Dialog) -> None:
        self._note(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _note_console(self, told: ConsoleMessage) -> None:
        where = told.location.get("url", "")
        if told.type in LOUD:
            self._note(f"console: {told.text} {where}")
