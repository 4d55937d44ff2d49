// Modals: a <dialog> with the blocks of a view, its inputs and errors, and the state values it submits.
import { renderBlocks, standing } from "./blocks.js";
import { call, h, toast } from "./dom.js";
import { text } from "./mrkdwn.js";

let shown = { hash: undefined, id: undefined, dialog: undefined, read: new Map() };

/** Show the topmost of the open views of this person; an unchanged one, and what was typed in it, stays. */
export function showViews(views, world) {
  const view = views.at(-1);
  const hash = view && `${world.person}:${view.id}:${view.hash}`;
  if (hash === shown.hash) return;
  const before = view && shown.id === view.id ? typed(shown.read) : {};
  const focused = shown.dialog && shown.dialog.contains(document.activeElement) ? document.activeElement.dataset.action : undefined;
  if (shown.dialog) { shown.dialog.onclose = null; shown.dialog.close(); shown.dialog.remove(); }
  shown = { hash, id: view && view.id, dialog: undefined, read: new Map() };
  if (!view) { if (document.activeElement === document.body) world.back(); return; }
  shown.dialog = makeDialog(view, world, before);
  document.body.append(shown.dialog);
  shown.dialog.showModal();
  const place = (focused && shown.dialog.querySelector(`[data-action="${CSS.escape(focused)}"]`)) || shown.dialog.querySelector(".dialog-body :is(input, textarea, select, button)");
  if (place) place.focus();
}

/** What was typed in text fields before the app changed the view: Slack keeps it if block and element are there again. */
function typed(read) {
  const texts = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => typeof value === "string").map(([name, value]) => [name, { value }]));
  return Object.fromEntries(Object.entries(standing(read)).map(([block, values]) => [block, texts(values)]));
}

function makeDialog(view, world, before) {
  const { read } = shown;
  const kept = Object.fromEntries([...new Set([...Object.keys(view.state.values), ...Object.keys(before)])]
    .map((block) => [block, merged(before[block] || {}, view.state.values[block] || {})]));
  const context = {
    ...world.context, scope: view.id, kept, read,
    act: async (element, value) => {
      const answer = await call("/ui/click_view", { person: world.person, view_id: view.id, action_id: element.action_id, value, state: standing(read) });
      if (answer.error) toast(answer.error);
    },
  };
  const send = h("button", { type: "submit", class: "primary" }, view.submit ? text(view.submit, context) : "Submit");
  const form = h("form", { novalidate: true, onsubmit: async (event) => {
    event.preventDefault();
    if (send.getAttribute("aria-busy") === "true") return;
    send.setAttribute("aria-busy", "true");
    await submit(view, world.person, read);
    send.removeAttribute("aria-busy");
  } },
  h("h2", {}, text(view.title, context)), h("div", { class: "dialog-body", tabindex: 0, role: "group", "aria-label": "Form" }, renderBlocks(view.blocks, context)),
  h("div", { class: "dialog-foot" },
    h("button", { type: "button", onclick: () => leave(view, world.person) }, view.close ? text(view.close, context) : "Cancel"),
    view.submit && send));
  const dialog = h("dialog", { class: "modal", oncancel: (event) => { event.preventDefault(); leave(view, world.person); } }, form);
  dialog.setAttribute("aria-label", view.title ? view.title.text : "Form");
  return dialog;
}

const merged = (before, state) => Object.fromEntries([...new Set([...Object.keys(before), ...Object.keys(state)])]
  .map((action) => [action, { ...state[action], ...before[action] }]));

async function leave(view, person) {
  const answer = await call("/ui/close_view", { person, view_id: view.id });
  if (answer.error && answer.error.includes(" ")) toast(answer.error);
}

async function submit(view, person, read) {
  const answer = await call("/ui/submit", { person, view_id: view.id, values: standing(read) });
  let first;
  for (const [block, { error }] of read) {
    if (!error) continue;
    error.textContent = (answer.errors || {})[block] || "";
    error.hidden = !error.textContent;
    const control = error.closest(".b-input").querySelector("input, textarea, select, summary");
    control.toggleAttribute("aria-invalid", !error.hidden);
    if (!error.hidden) first = first || control;
  }
  if (first) first.focus();
  else if (answer.error) toast(answer.error);
}
