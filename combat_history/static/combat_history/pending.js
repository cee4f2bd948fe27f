"use strict";

// Opens the page of a combat anew once it waits no longer. It asks while it is looked at.
{
    const pending = document.getElementById("combat-pending");
    let waiting = false;

    const ask = async () => {
        if (waiting || document.hidden) {
            return;
        }
        waiting = true;
        try {
            const response = await fetch(pending.dataset.url, {
                credentials: "same-origin",
                redirect: "error",
            });
            if (response.ok && await response.text() !== "pending") {
                window.location.reload();
            }
        } catch {
            // The next one may get through.
        } finally {
            waiting = false;
        }
    };

    if (pending !== null) {
        window.setInterval(ask, Number(pending.dataset.seconds) * 1000);
        document.addEventListener("visibilitychange", ask);
    }
}
