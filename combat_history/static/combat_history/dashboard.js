"use strict";

// Renews the figures while the page is looked at. Without script they stay as they were
// when the page was opened.
{
    const figures = document.getElementById("combat-figures");
    const stale = document.querySelector(".combat-stale");
    let waiting = false;

    const renew = async () => {
        if (waiting || document.hidden) {
            return;
        }
        waiting = true;
        try {
            const response = await fetch(figures.dataset.url, {
                credentials: "same-origin",
                headers: {"X-Requested-With": "XMLHttpRequest"},
                redirect: "error",
            });
            if (!response.ok) {
                throw new Error(String(response.status));
            }
            figures.innerHTML = await response.text();
            stale.hidden = true;
        } catch {
            stale.hidden = false;
        } finally {
            waiting = false;
        }
    };

    if (figures !== null) {
        window.setInterval(renew, Number(figures.dataset.seconds) * 1000);
        document.addEventListener("visibilitychange", renew);
    }
}
