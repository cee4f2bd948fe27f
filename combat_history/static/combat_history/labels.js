"use strict";

// Marks the tables that a phone shows as cards, and names each cell by its column there.
{
    const WIDE = 4;

    const label = (table) => {
        const heads = [...table.querySelectorAll("thead tr:last-child > *")];
        if (heads.length < WIDE || table.classList.contains("combat-slim")) {
            return;
        }
        table.classList.add("combat-wide");
        const names = heads.map((head) => head.innerText.trim());
        for (const row of table.tBodies) {
            for (const {cells} of row.rows) {
                [...cells].filter((cell) => cell.colSpan === 1).forEach((cell, n) => {
                    if (names[n]) {
                        cell.dataset.label = names[n];
                    }
                });
            }
        }
    };

    const labelAll = () => document.querySelectorAll(".combat-section table, #result_list").forEach(label);

    labelAll();
    // What other scripts renew has to be named again.
    const content = document.getElementById("content");
    if (content !== null) {
        new MutationObserver(labelAll).observe(content, {childList: true, subtree: true});
    }
}
