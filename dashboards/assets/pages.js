// What a page does beside being read: its time zone, and menus that close.

const root = document.documentElement;

// `tz=local` is a wish that only this machine can answer: its zone's name goes into the address, so that the link shows the
// same to everybody.
if (root.dataset.zone === "local") {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const address = new URL(location.href);
  address.searchParams.set("tz", zone);
  location.replace(address);
}

for (const menu of document.querySelectorAll("details.menu")) {
  menu.addEventListener("toggle", () => {
    if (menu.open) for (const other of document.querySelectorAll("details.menu[open]")) if (other !== menu) other.open = false;
  });
}
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
