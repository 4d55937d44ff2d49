// One message, and a list of messages in which only what changed is drawn anew.
import { $, call, h, toast } from "./dom.js";
import { renderBlocks, standing } from "./blocks.js";
import { moment, mrkdwn, EMOJI } from "./mrkdwn.js";

const initials = (name) => name.split(/\s+/).map((word) => word[0]).join("").slice(0, 2).toUpperCase();
const colour = (id) => [...id].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % 6;

/** Draw these messages into `place`; `world` knows who looks at what. A drawn message that did not change stays. */
export function drawMessages(place, messages, world) {
  const atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 60;
  const old = new Map([...place.children].map((node) => [node.dataset.ts, node]));
  const shown = new Set(messages.map((message) => message.ts));
  for (const [ts, node] of old) if (!shown.has(ts)) node.remove();  // first, so that what stays isn't moved: a moved node loses the focus
  const fresh = messages.map((message) => {
    const print = JSON.stringify([message, world.person, world.thread === message.ts]);
    const kept = old.get(message.ts);
    if (kept && kept.print === print) return kept;
    const node = drawMessage(message, world);
    node.print = print;
    if (kept && kept.contains(document.activeElement)) node.wanted = document.activeElement.dataset.action || "none";
    if (kept) kept.replaceWith(node);
    return node;
  });
  fresh.forEach((node, number) => { if (place.children[number] !== node) place.insertBefore(node, place.children[number] || null); });
  for (const node of fresh.filter((one) => one.wanted)) {
    (node.querySelector(`[data-action="${CSS.escape(node.wanted)}"]`) || node).focus();
    node.wanted = undefined;
  }
  if (atEnd) place.scrollTop = place.scrollHeight;
}

function drawMessage(message, world) {
  const author = world.personOf(message.user);
  const read = new Map();
  const context = {
    ...world.context, scope: message.ts.replace(".", "-"), kept: world.selections(message.ts), read,
    act: (element, value) => act(message, element, value, world, standing(read)),
  };
  const blocks = message.blocks && message.blocks.length ? renderBlocks(message.blocks, context) : h("div", { class: "b-text" }, mrkdwn(message.text || "", world.names));
  return h("article", {
    class: `message${message.is_ephemeral ? " ephemeral" : ""}${message.pinned ? " pinned" : ""}`, "data-ts": message.ts, tabindex: -1, "aria-label": `Message of ${author.name}`,
  },
  h("div", { class: `avatar colour-${colour(message.user)}`, "aria-hidden": "true" }, initials(author.real_name || author.name)),
  h("div", { class: "content" },
    message.pinned && h("p", { class: "quiet" }, "📌 Pinned"),
    message.is_ephemeral && h("p", { class: "quiet" }, "👁 Only visible to you"),
    h("p", { class: "author" }, h("strong", {}, author.real_name || author.name), author.is_bot && h("span", { class: "badge" }, "APP"), " ",
      h("span", { class: "quiet" }, moment(message.ts, "{time_secs}"))),
    blocks,
    (message.files || []).map((file) => h("figure", { class: "b-image" },
      file.filetype === "png" && h("img", { src: file.url_private, alt: file.title }),
      h("figcaption", {}, h("a", { href: file.url_private, target: "_blank", rel: "noopener" }, `📄 ${file.title}`)))),
    message.edited && h("span", { class: "quiet" }, "(edited)"),
    (message.reactions || []).length > 0 && h("p", { class: "reactions" }, message.reactions.map((one) => h("span", {}, `${EMOJI[one.name] || `:${one.name}:`} ${one.count}`))),
    shortcuts(message, world),
    foot(message, world)));
}

function foot(message, world) {
  if (message.is_ephemeral) return h("button", { type: "button", class: "plain", onclick: () => world.dismiss(message.ts) }, "Dismiss message");
  if (message.thread_ts && message.thread_ts !== message.ts) return null;
  const count = (message.replies || []).length;
  const said = count ? `${count} ${count === 1 ? "reply" : "replies"}` : "Reply in a thread";
  const last = count ? h("span", { class: "quiet" }, " last at ", moment(message.replies.at(-1).ts, "{time_secs}")) : null;
  return h("p", { class: count ? "thread-foot" : "thread-foot none" }, h("button", { type: "button", class: "plain", onclick: () => world.openThread(message.ts) }, said), last);
}

/** The message shortcuts of the manifest, in a small menu. */
function shortcuts(message, world) {
  const mine = world.shortcuts("message");
  if (!mine.length || message.is_ephemeral) return null;
  return h("select", {
    class: "overflow none", "aria-label": "Message shortcuts",
    onchange: async (event) => {
      const callback = event.currentTarget.value;
      event.currentTarget.selectedIndex = 0;
      const answer = await call("/ui/shortcut", { person: world.person, callback_id: callback, channel: world.channel, ts: message.ts });
      if (answer.error) toast(answer.error);
    },
  }, h("option", { value: "", selected: true }, "⋮"), mine.map((one) => h("option", { value: one.callback_id }, one.name)));
}

async function act(message, element, value, world, state) {
  world.clicked = message.ts;
  const body = { person: world.person, channel: message.channel || world.channel, ts: message.ts, action_id: element.action_id, state };
  if (value !== null && value !== undefined) body.value = value;
  const answer = await call("/ui/click", body);
  if (answer.error) toast(answer.error);
}

/** The pins of a channel, as jumps to the messages. */
export function drawPins(messages) {
  $("pins").replaceChildren(...messages.filter((message) => message.pinned).map((message) => h("button", {
    type: "button", class: "plain", onclick: () => {
      const node = document.querySelector(`#messages [data-ts="${message.ts}"]`);
      if (node) { node.scrollIntoView({ block: "start" }); node.classList.add("found"); setTimeout(() => node.classList.remove("found"), 1500); }
    },
  }, `📌 ${(message.text || "pinned message").slice(0, 60)}`)));
}
