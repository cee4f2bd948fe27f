"use strict";

// A stroke goes to the search, unless somebody is writing.
{
    const field = document.getElementById("combat-search");

    if (field !== null) {
        document.addEventListener("keydown", (event) => {
            const isWriting = event.target.matches("input, textarea, select");
            if (event.key === "/" && !isWriting && !event.ctrlKey && !event.metaKey) {
                event.preventDefault();
                field.focus();
                field.select();
            }
        });
    }
}
