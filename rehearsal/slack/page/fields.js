// The elements in which people choose or type. Each gives its node and a function that reads its value in the control API's short
// form: a string, a number, or a list of strings. `kept` is the state of the element so far, as Slack would send it.
import { h } from "./dom.js";
import { text } from "./mrkdwn.js";

/** The field for this element: {node, value}; undefined if this page has none for its type. `id` is for its label. */
export function field(element, id, context, kept = {}) {
  const make = FIELDS[element.type];
  return make && make(element, id, context, kept);
}

const title = (element, otherwise) => (element.placeholder ? element.placeholder.text : otherwise);
const valuesOf = (options) => (options || []).map((option) => option.value);

function line(type, element, id, kept, more = {}) {
  const common = { id, type, placeholder: title(element), "aria-describedby": `${id}-error`, autocomplete: "off", "data-action": element.action_id, ...more };
  const node = element.multiline || element.type === "rich_text_input" ? h("textarea", { ...common, type: undefined, rows: 4 }) : h("input", common);
  node.value = kept.value ?? element.initial_value ?? "";
  return { node, value: () => node.value };
}

function picker(type, element, id, initial) {
  const node = h("input", { id, type, "aria-label": title(element, type), "aria-describedby": `${id}-error`, "data-action": element.action_id });
  node.value = initial || "";
  return { node, value: () => node.value || "" };
}

function moment(element, id, context, kept) {
  const made = picker("datetime-local", element, id, local(kept.selected_date_time ?? element.initial_date_time));
  made.node.step = 60;
  return { node: made.node, value: () => (made.node.value ? Math.floor(new Date(made.node.value).getTime() / 1000) : undefined) };
}

function local(seconds) {
  if (!seconds) return "";
  const when = new Date(seconds * 1000);
  return new Date(when.getTime() - when.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

/** A menu of one choice. `groups` are [label, [[value, words]…]]. */
function menu(element, id, groups, chosen) {
  const options = (list) => list.map(([value, words]) => h("option", { value, selected: value === chosen }, words));
  const node = h("select", { id, "aria-label": title(element, "Choose"), "aria-describedby": `${id}-error`, "data-action": element.action_id },
    h("option", { value: "" }, title(element, "Choose…")),
    groups.map(([label, list]) => (label ? h("optgroup", { label }, options(list)) : options(list))));
  return { node, value: () => node.value };
}

/** A menu of several choices: boxes to tick, folded away. */
function boxes(element, id, groups, chosen) {
  const count = h("span", {}, "");
  const ticks = groups.flatMap(([, list]) => list).map(([value, words]) => h("label", { class: "tick" },
    h("input", { type: "checkbox", value, checked: chosen.includes(value) }), " ", words));
  const picked = () => [...node.querySelectorAll("input:checked")].map((tick) => tick.value);
  const tell = () => { count.textContent = picked().length ? ` (${picked().length} chosen)` : ""; };
  const node = h("details", { id, class: "many", "data-action": element.action_id, onchange: tell }, h("summary", {}, title(element, "Choose…"), count), ticks);
  tell();
  return { node, value: picked };
}

/** Radio buttons and checkboxes, all of them in sight. */
function ticks(type, element, id, context, chosen) {
  const role = type === "radio" ? "radiogroup" : "group";
  const node = h("div", { id, role, "aria-labelledby": `${id}-label`, "data-action": element.action_id }, element.options.map((option) => h("label", { class: "tick" },
    h("input", { type, name: id, value: option.value, checked: chosen.includes(option.value) }), " ", text(option.text, context),
    option.description && h("span", { class: "quiet" }, " ", text(option.description, context)))));
  const picked = () => [...node.querySelectorAll("input:checked")].map((tick) => tick.value);
  return { node, value: () => (type === "radio" ? picked()[0] : picked()) };
}

const words = (option) => [option.value, option.text.text];
const groupsOf = (element) => (element.option_groups
  ? element.option_groups.map((group) => [group.label.text, group.options.map(words)])
  : [["", (element.options || []).map(words)]]);
const people = (context) => [["", context.people().map((one) => [one.id, one.real_name || one.name])]];
const channels = (context) => [["", context.channels().map((one) => [one.id, `#${one.name}`])]];

const one = (groups, name) => (element, id, context, kept) => {
  const chosen = kept[`selected_${name}`] ?? element[`initial_${name}`];
  return menu(element, id, groups(element, context), chosen && chosen.value ? chosen.value : chosen);
};
const many = (groups, name) => (element, id, context, kept) => {
  const chosen = kept[`selected_${name}`] || element[`initial_${name}`] || [];
  return boxes(element, id, groups(element, context), chosen.map((item) => item.value || item));
};
const byContext = (list) => (element, context) => list(context);

const FIELDS = {
  plain_text_input: (element, id, context, kept) => line("text", element, id, kept, { maxlength: element.max_length }),
  email_text_input: (element, id, context, kept) => line("email", element, id, kept),
  url_text_input: (element, id, context, kept) => line("url", element, id, kept),
  number_input: (element, id, context, kept) => line("text", element, id, kept, { inputmode: "decimal" }),
  datepicker: (element, id, context, kept) => picker("date", element, id, kept.selected_date ?? element.initial_date),
  timepicker: (element, id, context, kept) => picker("time", element, id, kept.selected_time ?? element.initial_time),
  datetimepicker: moment,
  radio_buttons: (element, id, context, kept) => ticks("radio", element, id, context, valuesOf([kept.selected_option || element.initial_option].filter(Boolean))),
  checkboxes: (element, id, context, kept) => ticks("checkbox", element, id, context, valuesOf(kept.selected_options || element.initial_options)),
  static_select: one(groupsOf, "option"),
  multi_static_select: many(groupsOf, "options"),
  users_select: one(byContext(people), "user"),
  multi_users_select: many(byContext(people), "users"),
  channels_select: one(byContext(channels), "channel"),
  multi_channels_select: many(byContext(channels), "channels"),
  conversations_select: one(byContext(channels), "conversation"),
  multi_conversations_select: many(byContext(channels), "conversations"),
};
