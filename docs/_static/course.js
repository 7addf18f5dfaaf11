// Paper is white, and dark pages print pale words on it: a page is light while it is printed.
(() => {
  const root = document.documentElement;
  let theme;
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
  });
  addEventListener("afterprint", () => {
    root.dataset.theme = theme;
  });
})();

// A link to a word of the glossary shows its sentence beneath it: by click, tap or Enter.
// Escape or a click elsewhere closes it.
// Without a script, or with Ctrl, it is a plain link. GLOSSARY is in glossary.js.
(() => {
  if (!("popover" in HTMLElement.prototype)) return;
  const said = document.createElement("span");
  said.className = "said";
  said.popover = "auto";
  said.id = "said";

  function show(link) {
    const word = new URL(link.href).hash.slice(1);
    said.innerHTML = `${GLOSSARY[word]} <a href="${link.href}">Glossary</a>`;
    said.previousElementSibling?.removeAttribute("aria-describedby");
    link.setAttribute("aria-describedby", said.id);
    link.after(said); // so that Tab leads from the link into it
    said.showPopover();
    const place = link.getBoundingClientRect();
    const room = document.documentElement.clientWidth - said.offsetWidth - 8;
    said.style.left = `${scrollX + Math.max(8, Math.min(place.left, room))}px`;
    said.style.top = `${scrollY + place.bottom + 6}px`;
  }

  addEventListener("click", (event) => {
    const link = event.target.closest('article a[href*="glossary.html#"]');
    if (!link || said.contains(link) || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (!(new URL(link.href).hash.slice(1) in GLOSSARY)) return;
    event.preventDefault();
    show(link);
  });
  addEventListener("keydown", (event) => {
    // The theme keeps Escape from the browser.
    if (event.key === "Escape" && said.isConnected) said.hidePopover();
  });
})();
