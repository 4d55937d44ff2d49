// Modals: a <dialog> with the inputs of a view, its errors, and the state values it submits.
import { renderBlocks } from "./blocks.js";
import { call, h, toast } from "./dom.js";
import { text } from "./mrkdwn.js";

let shown = { hash: undefined, dialog: undefined };

/** Show the topmost of the open views of this person; leaves an unchanged one, and what was typed in it, alone. */
export function showViews(views, person, context) {
  const view = views.at(-1);
  const hash = view && `${person}:${view.id}:${view.hash}`;
  if (hash === shown.hash) return;
  if (shown.dialog) { shown.dialog.onclose = null; shown.dialog.close(); shown.dialog.remove(); }
  shown = { hash, dialog: view && makeDialog(view, person, context) };
  if (shown.dialog) { document.body.append(shown.dialog); shown.dialog.showModal(); }
}

function makeDialog(view, person, context) {
  const errors = new Map();
  const read = new Map();
  const blocks = view.blocks.map((block) => (block.type === "input" ? inputBlock(block, view, person, context, errors, read) : renderBlocks([block], context)));
  const send = h("button", { type: "submit", class: "primary" }, view.submit ? text(view.submit, context) : "Submit");
  const form = h("form", { novalidate: true, onsubmit: async (event) => {
    event.preventDefault();
    send.disabled = true;
    await submit(view, person, read, errors);
    send.disabled = false;
  } },
  h("h2", {}, text(view.title, context)), h("div", { class: "dialog-body" }, blocks),
  h("div", { class: "dialog-foot" },
    h("button", { type: "button", onclick: () => leave(view, person) }, view.close ? text(view.close, context) : "Cancel"),
    view.submit && send));
  const dialog = h("dialog", { class: "modal", oncancel: (event) => { event.preventDefault(); leave(view, person); } }, form);
  dialog.setAttribute("aria-label", view.title ? view.title.text : "Form");
  return dialog;
}

async function leave(view, person) {
  const answer = await call("/ui/close_view", { person, view_id: view.id });
  if (answer.error && answer.error.includes(" ")) toast(answer.error);
}

async function submit(view, person, read, errors) {
  const values = Object.fromEntries([...read].map(([block, value]) => [block, value()]).filter(([, value]) => value !== undefined));
  const answer = await call("/ui/submit", { person, view_id: view.id, values });
  for (const [block, place] of errors) {
    place.textContent = (answer.errors || {})[block] || "";
    place.hidden = !place.textContent;
  }
  const first = [...errors].find(([, place]) => !place.hidden);
  if (first) first[1].closest(".b-input").querySelector("input, textarea, select").focus();
  else if (answer.error) toast(answer.error);
}

function inputBlock(block, view, person, context, errors, read) {
  const id = `input-${block.block_id}`;
  const make = INPUTS[block.element.type];
  if (!make) return h("p", { class: "unknown" }, `An input of type ${block.element.type}, which this page can't show.`);
  const chosen = ((view.state.values[block.block_id] || {})[block.element.action_id]) || {};
  const { node, value } = make({ ...block.element, ...initial(chosen) }, id, context);
  if (block.dispatch_action) {
    node.addEventListener("change", () => call("/ui/choose", { person, view_id: view.id, action_id: block.element.action_id, value: value() }));
  }
  const error = h("p", { class: "field-error", role: "alert", id: `${id}-error`, hidden: true });
  errors.set(block.block_id, error);
  read.set(block.block_id, value);
  return h("div", { class: "b-input" },
    h("label", { for: id, id: `${id}-label` }, text(block.label, context), block.optional ? h("span", { class: "quiet" }, " (optional)") : null),
    node, block.hint && h("p", { class: "quiet" }, text(block.hint, context)), error);
}

/** What was chosen before the app changed the view, as the element's initial value. */
function initial(chosen) {
  return Object.fromEntries(Object.entries(chosen).filter(([name, value]) => name.startsWith("selected_date") && value)
    .map(([name, value]) => [name.replace("selected_", "initial_"), value]));
}

const placeholder = (element) => (element.placeholder ? element.placeholder.text : undefined);

const INPUTS = {
  plain_text_input: (element, id) => {
    const common = { id, placeholder: placeholder(element), maxlength: element.max_length, "aria-describedby": `${id}-error`, autocomplete: "off" };
    const node = element.multiline ? h("textarea", { ...common, rows: 4 }) : h("input", { ...common, type: "text" });
    node.value = element.initial_value || "";
    return { node, value: () => node.value };
  },
  datetimepicker: (element, id) => {
    const node = h("input", { id, type: "datetime-local", step: 60, "aria-describedby": `${id}-error` });
    if (element.initial_date_time) node.value = local(element.initial_date_time);
    return { node, value: () => (node.value ? Math.floor(new Date(node.value).getTime() / 1000) : undefined) };
  },
  datepicker: (element, id) => picker(element, id, "date", element.initial_date),
  timepicker: (element, id) => picker(element, id, "time", element.initial_time),
  static_select: (element, id) => {
    const chosen = element.initial_option && element.initial_option.value;
    const node = h("select", { id, "aria-describedby": `${id}-error` }, h("option", { value: "" }, placeholder(element) || "Choose…"),
      element.options.map((option) => h("option", { value: option.value, selected: option.value === chosen }, option.text.text)));
    return { node, value: () => node.value || undefined };
  },
  radio_buttons: (element, id, context) => ticks(element, id, "radio", context, (chosen) => chosen[0]),
  checkboxes: (element, id, context) => ticks(element, id, "checkbox", context, (chosen) => chosen),
};

function ticks(element, id, type, context, result) {
  const initial = [element.initial_option, ...(element.initial_options || [])].filter(Boolean).map((option) => option.value);
  const node = h("div", { role: type === "radio" ? "radiogroup" : "group", "aria-labelledby": `${id}-label` }, element.options.map((option) => h("label", { class: "tick" },
    h("input", { type, name: id, value: option.value, checked: initial.includes(option.value) }), " ", text(option.text, context),
    option.description && h("span", { class: "quiet" }, " ", text(option.description, context)))));
  return { node, value: () => result([...node.querySelectorAll("input:checked")].map((tick) => tick.value)) };
}

function picker(element, id, type, first) {
  const node = h("input", { id, type, "aria-describedby": `${id}-error` });
  node.value = first || "";
  return { node, value: () => node.value || undefined };
}

function local(seconds) {
  const when = new Date(seconds * 1000);
  return new Date(when.getTime() - when.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}
