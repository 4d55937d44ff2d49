// Block Kit as DOM. `context` gives `names` (of people and channels) and `act(element, value)` for what a person uses.
import { confirmed } from "./confirm.js";
import { h, link, safe } from "./dom.js";
import { markdown, moment, plainText, text, EMOJI } from "./mrkdwn.js";

/** All blocks of a message or view; an unknown one is named instead of being left out. */
export function renderBlocks(blocks, context) {
  return blocks.map((block) => {
    const render = BLOCKS[block.type];
    return render ? render(block, context) : h("p", { class: "unknown" }, `A block of type ${block.type}, which this page can't show.`);
  });
}

const BLOCKS = {
  header: (block, context) => h("h3", { class: "b-header" }, text(block.text, context)),
  divider: () => h("hr"),
  section: (block, context) => h("div", { class: "b-section" },
    h("div", { class: "b-body" },
      block.text && h("div", { class: "b-text" }, text(block.text, context)),
      block.fields && h("div", { class: "b-fields" }, block.fields.map((field) => h("div", {}, text(field, context))))),
    block.accessory && h("div", { class: "b-accessory" }, element(block.accessory, context))),
  context: (block, context) => h("div", { class: "b-context" },
    block.elements.map((item) => h("span", {}, item.type === "image" ? image(item) : text(item, context)))),
  actions: (block, context) => h("div", { class: "b-actions" }, block.elements.map((item) => element(item, context))),
  image: (block, context) => h("figure", { class: "b-image" }, image(block), block.title && h("figcaption", {}, text(block.title, context))),
  markdown: (block, context) => h("div", { class: "b-markdown" }, markdown(block.text, context.names)),
  rich_text: (block, context) => h("div", { class: "b-rich" }, block.elements.map((item) => rich(item, context))),
  alert: (block, context) => h("div", { class: `b-alert level-${block.level || "default"}`, role: "note" },
    h("span", { class: "mark", "aria-hidden": "true" }, LEVELS[block.level] || "•"),
    h("div", {}, h("span", { class: "unseen" }, `${block.level || "note"}: `), text(block.text, context))),
  plan: (block, context) => h("div", { class: "b-plan" }, h("p", { class: "b-plan-title" }, words(block.title, context)),
    h("ol", {}, (block.tasks || []).map((task) => h("li", {}, taskCard(task, context))))),
  task_card: (block, context) => h("div", { class: "b-plan" }, taskCard(block, context)),
  table: (block, context) => table(block, context),
  input: (block, context) => h("div", { class: "b-input" }, text(block.label, context), element(block.element, context)),
};

const LEVELS = { info: "ℹ️", warning: "⚠️", error: "🛑", success: "✅" };
const STATES = { pending: ["○", "pending"], in_progress: ["◐", "in progress"], complete: ["✔", "complete"], error: ["✖", "failed"] };
const words = (title, context) => (typeof title === "string" ? plainText(title) : text(title, context));

/** Pictures of other machines are not fetched: the page shows what they are of and a link. */
function image(item) {
  return h("span", { class: "picture" }, "🖼 ", link(item.image_url, item.alt_text || "picture"));
}

function taskCard(task, context) {
  const [sign, said] = STATES[task.status] || STATES.pending;
  const more = ["details", "output"].filter((name) => task[name]).map((name) =>
    h("div", { class: `task-${name}` }, renderBlocks([task[name]], context)));
  const sources = (task.sources || []).map((source) => link(source.url, source.text || source.url));
  return h("div", { class: `task state-${task.status || "pending"}` },
    h("span", { class: "mark", role: "img", "aria-label": said }, sign),
    h("div", {}, h("div", { class: "task-title" }, words(task.title, context)), more, sources));
}

function table(block, context) {
  const columns = block.column_settings || [];
  const cell = (item, column, tag) => h(tag, { class: `align-${(columns[column] || {}).align || "left"}` },
    item.type === "rich_text" ? renderBlocks([item], context) : String(item.text ?? item.value ?? item.number ?? ""));
  const row = (items, tag) => h("tr", {}, items.map((item, column) => cell(item, column, tag)));
  const [head, ...body] = block.rows;
  return h("div", { class: "b-table" }, h("table", {}, h("thead", {}, row(head, "th")), h("tbody", {}, body.map((items) => row(items, "td")))));
}

// Rich text.

function rich(item, context) {
  const inside = () => item.elements.map((part) => (part.elements ? rich(part, context) : run(part, context)));
  switch (item.type) {
    case "rich_text_list":
      return h(item.style === "ordered" ? "ol" : "ul", { class: `indent-${Math.min(item.indent || 0, 4)}`, start: item.offset ? item.offset + 1 : undefined },
        item.elements.map((part) => h("li", {}, rich(part, context))));
    case "rich_text_quote": return h("blockquote", {}, inside());
    case "rich_text_preformatted": return h("pre", {}, h("code", {}, inside()));
    default: return h("div", {}, inside());
  }
}

function run(part, context) {
  let node;
  if (part.type === "text") node = h("span", { class: "run" }, part.text);
  else if (part.type === "link") node = link(part.url, part.text || part.url);
  else if (part.type === "user") node = h("span", { class: "mention" }, `@${context.names.person(part.user_id) || part.user_id}`);
  else if (part.type === "channel") node = h("span", { class: "mention" }, `#${context.names.channel(part.channel_id) || part.channel_id}`);
  else if (part.type === "emoji") node = h("span", { role: "img", "aria-label": part.name }, EMOJI[part.name] || `:${part.name}:`);
  else if (part.type === "date") node = moment(part.timestamp, part.format || "{date} {time}") || part.fallback || "";
  else if (part.type === "broadcast") node = h("span", { class: "mention" }, `@${part.range}`);
  else node = part.text || "";
  const style = part.style || {};
  for (const [name, tag] of [["code", "code"], ["bold", "strong"], ["italic", "em"], ["strike", "s"]]) {
    if (style[name]) node = h(tag, {}, node);
  }
  return node;
}

// Elements in messages.

function element(item, context) {
  const render = ELEMENTS[item.type];
  return render ? render(item, context) : h("span", { class: "unknown" }, `${item.type} (only in a form)`);
}

const ELEMENTS = {
  image,
  button: (item, context) => h("button", {
    type: "button", class: item.style || "", "data-action": item.action_id, "data-value": item.value, "aria-label": item.accessibility_label,
    onclick: (event) => press(event.currentTarget, item, item.value, context),
  }, text(item.text, context), safe(item.url) && h("span", { "aria-hidden": "true" }, " ↗")),
  overflow: (item, context) => choice(item, "⋯", context),
  static_select: (item, context) => choice(item, item.placeholder ? item.placeholder.text : "Choose…", context),
  radio_buttons: (item, context) => h("div", { role: "radiogroup" }, item.options.map((option) => h("label", {},
    h("input", {
      type: "radio", name: `${item.action_id}-${Math.random()}`, value: option.value,
      onchange: (event) => press(event.currentTarget, item, option.value, context),
    }), " ", text(option.text, context)))),
};

function choice(item, title, context) {
  return h("select", {
    "data-action": item.action_id, "aria-label": title,
    onchange: async (event) => {
      const list = event.currentTarget;
      await press(list, item, list.value, context);
      if (item.type === "overflow") list.selectedIndex = 0;
    },
  }, h("option", { value: "", disabled: true, selected: !item.initial_option }, title),
  item.options.map((option) => h("option", {
    value: option.value, selected: item.initial_option && item.initial_option.value === option.value,
  }, option.text.text)));
}

async function press(control, item, value, context) {
  if (item.confirm && !(await confirmed(item.confirm, context))) return;
  if (safe(item.url)) window.open(item.url, "_blank", "noopener");
  control.disabled = true;
  try {
    await context.act(item, item.type === "button" ? value ?? null : value);
  } finally {
    control.disabled = false;
  }
}
