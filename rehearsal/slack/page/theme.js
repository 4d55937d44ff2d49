// Light or dark: as the browser has it, or as the reader chooses here.
import { $ } from "./dom.js";

const THEMES = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };

/** Let the button go through the themes; the choice is kept in this browser. */
export function startTheme() {
  const names = Object.keys(THEMES);
  let now = names.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto";
  const show = () => {
    document.documentElement.dataset.theme = now;
    $("theme").textContent = THEMES[now];
  };
  $("theme").addEventListener("click", () => {
    now = names[(names.indexOf(now) + 1) % names.length];
    localStorage.setItem("theme", now);
    show();
  });
  show();
}
