// Block Kit as DOM. `context` gives `names`, `people()` and `channels()`, `act(element, value)` for what a person uses, and `kept`
// and `read`: what stands in the fields so far, and a map into which each field puts the function that reads it.
import { confirmed } from "./confirm.js";
import { h, link, safe } from "./dom.js";
import { field } from "./fields.js";
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
    block.accessory && h("div", { class: "b-accessory" }, element(block.accessory, context, block))),
  context: (block, context) => h("div", { class: "b-context" },
    block.elements.map((item) => h("span", {}, item.type === "image" ? image(item) : text(item, context)))),
  actions: (block, context) => h("div", { class: "b-actions" }, block.elements.map((item) => element(item, context, block))),
  context_actions: (block, context) => h("div", { class: "b-actions" }, block.elements.map((item) => element(item, context, block))),
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
  data_table: (block, context) => table(block, context),
  card: (block, context) => card(block, context),
  carousel: (block, context) => h("div", { class: "b-carousel" }, block.elements.map((one) => card(one, context))),
  container: (block, context) => container(block, context),
  input: (block, context) => input(block, context),
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
  return h("div", { class: "b-table", tabindex: 0, role: "region", "aria-label": block.caption || "Table" }, h("table", {}, block.caption && h("caption", {}, block.caption), h("thead", {}, row(head, "th")), h("tbody", {}, body.map((items) => row(items, "td")))));
}

function card(block, context) {
  return h("div", { class: "b-card" },
    block.hero_image && image(block.hero_image),
    block.title && h("p", { class: "b-card-title" }, block.icon && image(block.icon), text(block.title, context)),
    block.subtitle && h("p", { class: "quiet" }, text(block.subtitle, context)),
    block.body && h("div", {}, text(block.body, context)),
    block.actions && h("div", { class: "b-actions" }, block.actions.map((item) => element(item, context, block))));
}

function container(block, context) {
  const head = [block.title ? text(block.title, context) : renderBlocks([block.rich_text_title], context),
    block.subtitle && h("span", { class: "quiet" }, " ", text(block.subtitle, context))];
  const inside = renderBlocks(block.child_blocks, context);
  if (!block.is_collapsible) return h("div", { class: "b-container" }, h("p", { class: "b-card-title" }, head), inside);
  return h("details", { class: "b-container", open: !block.default_collapsed }, h("summary", { class: "b-card-title" }, head), inside);
}

/** An input block with its label, hint and a place for its error. */
function input(block, context) {
  const id = `input-${context.scope}-${block.block_id}`;
  const made = field(block.element, id, context, keptOf(block, block.element, context));
  if (!made) return h("p", { class: "unknown" }, `An input of type ${block.element.type}, which this page can't show.`);
  const error = h("p", { class: "field-error", role: "alert", id: `${id}-error`, hidden: true });
  remember(block, block.element, made, context, error);
  if (block.dispatch_action) made.node.addEventListener("change", () => context.act(block.element, made.value()));
  const group = made.node.matches("[role]");
  return h("div", { class: "b-input" },
    h(group ? "p" : "label", { class: "label", for: group ? undefined : id, id: `${id}-label` }, text(block.label, context), block.optional && h("span", { class: "quiet" }, " (optional)")),
    made.node, block.hint && h("p", { class: "quiet" }, text(block.hint, context)), error);
}

const keptOf = (block, item, context) => ((context.kept || {})[block.block_id] || {})[item.action_id] || {};

function remember(block, item, made, context, error) {
  if (!context.read) return;
  const fields = context.read.get(block.block_id) || { values: {}, error: undefined };
  fields.values[item.action_id] = made.value;
  fields.error = error || fields.error;
  context.read.set(block.block_id, fields);
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

// Elements that are pressed or chosen in.

function element(item, context, block) {
  const press = PRESSED[item.type];
  if (press) return press(item, context);
  const made = field(item, `field-${context.scope}-${block.block_id}-${item.action_id}`, context, keptOf(block, item, context));
  if (!made) return h("span", { class: "unknown" }, `${item.type}, which this page can't show`);
  remember(block, item, made, context);
  made.node.addEventListener("change", (event) => send(event.target, item, made.value(), context));
  return made.node;
}

const button = (item, context, more, ...inside) => h("button", {
  type: "button", class: item.style || "", "data-action": item.action_id, "data-value": item.value, "aria-label": item.accessibility_label,
  onclick: (event) => send(event.currentTarget, item, item.value ?? null, context), ...more,
}, inside);

const PRESSED = {
  image,
  button: (item, context) => button(item, context, {}, text(item.text, context), safe(item.url) && h("span", { "aria-hidden": "true" }, " ↗")),
  workflow_button: (item, context) => button(item, context, {}, text(item.text, context)),
  icon_button: (item, context) => button(item, context, { title: item.text.text }, text(item.text, context)),
  feedback_buttons: (item, context) => [item.positive_button, item.negative_button].map((one) => button({ ...item, value: one.value }, context, {}, text(one.text, context))),
  overflow: (item, context) => h("select", {
    class: "overflow", "data-action": item.action_id, "aria-label": "More actions",
    onchange: async (event) => {
      const list = event.currentTarget;
      const value = list.value;
      list.selectedIndex = 0;
      await send(list, item, value, context);
    },
  }, h("option", { value: "", selected: true }, "⋯"), item.options.map((option) => h("option", { value: option.value }, option.text.text))),
};

/** Send a click. The control stays in the keyboard's reach while the app thinks: a disabled one would lose the focus. */
async function send(control, item, value, context) {
  if (control.getAttribute("aria-busy") === "true") return;
  if (item.confirm && !(await confirmed(item.confirm, context))) return;
  if (safe(item.url)) window.open(item.url, "_blank", "noopener");
  control.setAttribute("aria-busy", "true");
  try {
    await context.act(item, value);
  } finally {
    control.removeAttribute("aria-busy");
  }
}

/** What stands in the fields, as the control API takes it: {block_id: {action_id: value}}. */
export function standing(read) {
  const filled = (values) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value()]).filter(([, value]) => value !== undefined));
  return Object.fromEntries([...read].map(([block, fields]) => [block, filled(fields.values)]));
}
