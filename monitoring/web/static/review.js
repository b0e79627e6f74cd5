// Keyboard shortcuts of the review page. Without this script, the buttons do the same.
"use strict";
(() => {
  const typing = (element) => element instanceof Element && element.matches("input, textarea, select");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (typing(event.target)) {
      if (event.key === "Escape") event.target.blur();
      if (event.key === "Enter" && event.target.id === "value") {
        event.preventDefault();
        document.querySelector('[data-key="c"]').click();
      }
      return;
    }
    const value = document.getElementById("value");
    if (event.key.toLowerCase() === "c" && value && !value.value) {
      event.preventDefault();
      value.focus();
      return;
    }
    const button = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
    if (button) {
      event.preventDefault();
      button.click();
    }
  });
})();
