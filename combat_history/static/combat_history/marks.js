"use strict";

// A box in the head of a table marks all boxes of the name that it holds.
for (const all of document.querySelectorAll("[data-marks]")) {
    all.addEventListener("change", () => {
        for (const box of document.getElementsByName(all.dataset.marks)) {
            box.checked = all.checked;
        }
    });
}
