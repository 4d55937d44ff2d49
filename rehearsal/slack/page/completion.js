// Completion of slash commands: the manifest's commands with their descriptions, and the ways to go on that a usage hint names.
import { h } from "./dom.js";

/** Offer completions for what is typed in `field`; `commands()` gives the manifest's slash commands. */
export function complete(field, list, commands) {
  let offered = [];
  let chosen = -1;
  const show = (found) => {
    offered = found;
    chosen = found.length ? 0 : -1;
    list.replaceChildren(...found.map((one, number) => h("li", {
      id: `${list.id}-${number}`, role: "option", onmousedown: (event) => { event.preventDefault(); take(number); },
    }, h("strong", {}, one.shown), one.says && h("span", { class: "quiet" }, ` ${one.says}`))));
    list.hidden = !found.length;
    mark();
  };
  const mark = () => {
    [...list.children].forEach((item, number) => item.setAttribute("aria-selected", String(number === chosen)));
    if (chosen >= 0) { field.setAttribute("aria-activedescendant", `${list.id}-${chosen}`); list.children[chosen].scrollIntoView({ block: "nearest" }); } else field.removeAttribute("aria-activedescendant");
  };
  const take = (number) => {
    field.value = `${offered[number].text} `;
    field.focus();
    show(fitting(field.value, commands()));
  };
  field.addEventListener("input", () => show(fitting(field.value, commands())));
  field.addEventListener("blur", () => show([]));
  field.addEventListener("keydown", (event) => {
    if (!offered.length) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) { chosen = (chosen + step + offered.length) % offered.length; mark(); event.preventDefault(); }
    if (event.key === "Escape") { show([]); event.stopPropagation(); }
    if (event.key === "Tab" && !event.shiftKey) { take(chosen); event.preventDefault(); }
    if (event.key !== "Enter" || event.shiftKey) return;
    const typed = field.value.trim();
    if (typed.includes(" ") || offered.some((one) => one.text === typed)) { show([]); return; }  // send what is typed, not what is offered
    take(chosen);
    event.preventDefault();
    event.stopImmediatePropagation();
  });
}

/** What could be meant: whole commands while a name is typed, then the words of the usage hint that begin like it. */
export function fitting(typed, commands) {
  if (typed[0] !== "/" || typed.includes("\n")) return [];
  return commands.flatMap((one) => {
    const hint = one.usage_hint || "";
    if (one.command.startsWith(typed)) return [{ text: one.command, shown: one.command, says: `${hint ? `[${hint}] ` : ""}${one.description || ""}` }];
    if (!typed.startsWith(`${one.command} `)) return [];
    const rest = typed.slice(one.command.length + 1).trimStart();
    return hint.split("|").map((way) => way.trim()).filter((way) => way && way.startsWith(rest) && way !== rest.trimEnd())
      .map((way) => ({ text: `${one.command} ${way}`, shown: `${one.command} ${way}`, says: "" }));
  });
}
