// Slack's mrkdwn, plain text with emoji, and the small Markdown of markdown blocks, as DOM nodes.
import { h, link, safe } from "./dom.js";

export const EMOJI = {
  white_check_mark: "✅", heavy_check_mark: "✔️", x: "❌", warning: "⚠️", hourglass_flowing_sand: "⏳", hourglass: "⌛",
  rotating_light: "🚨", octagonal_sign: "🛑", no_entry: "⛔", no_entry_sign: "🚫", arrow_forward: "▶️",
  double_vertical_bar: "⏸️", black_square_for_stop: "⏹️", fast_forward: "⏩", arrows_counterclockwise: "🔄", repeat: "🔁",
  clock1: "🕐", stopwatch: "⏱️", alarm_clock: "⏰", eyes: "👀", mag: "🔍", question: "❓", grey_question: "❔", exclamation: "❗",
  information_source: "ℹ️", bulb: "💡", lock: "🔒", unlock: "🔓", key: "🔑", shield: "🛡️", fire: "🔥", tada: "🎉", memo: "📝",
  pushpin: "📌", hammer_and_wrench: "🛠️", wrench: "🔧", floppy_disk: "💾", globe_with_meridians: "🌐", satellite: "🛰️",
  large_green_circle: "🟢", large_yellow_circle: "🟡", large_orange_circle: "🟠", red_circle: "🔴", white_circle: "⚪",
  black_circle: "⚫", large_blue_circle: "🔵", thumbsup: "👍", "+1": "👍", thumbsdown: "👎", "-1": "👎", raised_hand: "✋",
  busts_in_silhouette: "👥", bust_in_silhouette: "👤", bar_chart: "📊", checkered_flag: "🏁", leftwards_arrow_with_hook: "↩️",
};

const ENTITIES = { "&lt;": "<", "&gt;": ">", "&amp;": "&" };
const plain = (text) => text.replace(/&(lt|gt|amp);/g, (entity) => ENTITIES[entity]);

function emoji(name) {
  return EMOJI[name] ? h("span", { role: "img", "aria-label": name.replaceAll("_", " ") }, EMOJI[name]) : `:${name}:`;
}

/** Text with emoji codes and line ends. */
export function plainText(text, withEmoji = true) {
  return lines(plain(text)).flatMap((part) =>
    typeof part !== "string" || !withEmoji ? [part] : part.split(/(:[a-z0-9_+-]+:)/).map((piece) => {
      const name = piece.match(/^:([a-z0-9_+-]+):$/);
      return name ? emoji(name[1]) : piece;
    }));
}

function lines(text) {
  return text.split("\n").flatMap((line, number) => (number ? [h("br"), line] : [line]));
}

const FORMATS = {
  date_num: { year: "numeric", month: "2-digit", day: "2-digit" }, date: { year: "numeric", month: "long", day: "numeric" },
  date_short: { year: "numeric", month: "short", day: "numeric" }, date_pretty: { month: "long", day: "numeric" },
  date_long: { weekday: "long", year: "numeric", month: "long", day: "numeric" },
  date_short_pretty: { month: "short", day: "numeric" },
  time: { hour: "2-digit", minute: "2-digit", hour12: false }, time_secs: { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false },
};

/** A moment in the reader's own time, as Slack's {time} and {date} tokens say it. */
export function moment(seconds, format) {
  const when = new Date(Number(seconds) * 1000);
  if (Number.isNaN(when.getTime())) return undefined;
  const said = format.replace(/\{(\w+)\}/g, (whole, name) =>
    name === "ago" ? ago(when) : FORMATS[name] ? new Intl.DateTimeFormat(undefined, FORMATS[name]).format(when) : whole);
  return h("time", { datetime: when.toISOString(), title: when.toISOString() }, said);
}

function ago(when) {
  const seconds = Math.round((Date.now() - when) / 1000);
  return seconds < 90 ? `${seconds} seconds ago` : `${Math.round(seconds / 60)} minutes ago`;
}

function special(inner, names) {
  const [what, label] = [inner.split("|")[0], inner.split("|").slice(1).join("|")];
  if (what[0] === "@") return h("span", { class: "mention" }, `@${names.person(what.slice(1)) || label || what.slice(1)}`);
  if (what[0] === "#") return h("span", { class: "mention" }, `#${names.channel(what.slice(1)) || label || what.slice(1)}`);
  if (what.startsWith("!date^")) {
    const [, seconds, format] = what.split("^");
    return moment(seconds, format || "{date} {time}") || plain(label);
  }
  if (what.startsWith("!subteam^")) return h("span", { class: "mention" }, label || "@group");
  if (what[0] === "!") return h("span", { class: "mention" }, `@${label || what.slice(1)}`);
  return safe(plain(what)) ? link(plain(what), plain(label || what)) : plain(`<${inner}>`);
}

const INLINE = new RegExp([
  "`([^`\\n]+)`",
  "<([^<>\\n]+)>",
  "(?<![\\w*])\\*(?=\\S)([^*\\n]*[^*\\s])\\*(?![\\w*])",
  "(?<![\\w_])_(?=\\S)([^_\\n]*[^_\\s])_(?![\\w_])",
  "(?<![\\w~])~(?=\\S)([^~\\n]*[^~\\s])~(?![\\w~])",
  ":([a-z0-9_+-]+):",
].join("|"), "g");

function inline(text, names) {
  const nodes = [];
  let done = 0;
  for (const found of text.matchAll(INLINE)) {
    nodes.push(...lines(plain(text.slice(done, found.index))));
    const [whole, code, angle, bold, italic, struck, sign] = found;
    if (code) nodes.push(h("code", {}, plain(code)));
    else if (angle) nodes.push(special(angle, names));
    else if (bold) nodes.push(h("strong", {}, inline(bold, names)));
    else if (italic) nodes.push(h("em", {}, inline(italic, names)));
    else if (struck) nodes.push(h("s", {}, inline(struck, names)));
    else nodes.push(emoji(sign));
    done = found.index + whole.length;
  }
  return [...nodes, ...lines(plain(text.slice(done)))];
}

function quoted(text, names) {
  const parts = [];
  for (const line of text.split("\n")) {
    const quote = line.match(/^(?:&gt;|>) ?(.*)$/);
    const last = parts.at(-1);
    if (last && last.quote === Boolean(quote)) last.lines.push(quote ? quote[1] : line);
    else parts.push({ quote: Boolean(quote), lines: [quote ? quote[1] : line] });
  }
  return parts.map((part) => {
    const nodes = inline(part.lines.join("\n"), names);
    return part.quote ? h("blockquote", {}, nodes) : nodes;
  });
}

/** mrkdwn as nodes; `names` gives `person(id)` and `channel(id)`. */
export function mrkdwn(text, names) {
  return text.split(/```/).map((part, number) =>
    number % 2 ? h("pre", {}, h("code", {}, plain(part.replace(/^\n|\n$/g, "")))) : quoted(part, names));
}

/** A text object of Block Kit as nodes. */
export function text(object, context) {
  if (!object) return [];
  return object.type === "mrkdwn" ? mrkdwn(object.text, context.names) : plainText(object.text, object.emoji !== false);
}

/** The Markdown of a markdown block: headings, lists, code, bold, italics, links. */
export function markdown(text, names) {
  const slackish = (line) => line
    .replace(/\[([^\]]+)\]\(([^)\s]+)\)/g, "<$2|$1>")
    .replace(/\*\*([^*]+)\*\*|__([^_]+)__/g, (_, one, two) => `\u0001${one || two}\u0001`)
    .replace(/(?<!\w)\*(\S[^*\n]*)\*/g, "_$1_")
    .replaceAll("\u0001", "*");
  return text.split(/```\w*\n?/).map((part, number) => {
    if (number % 2) return h("pre", {}, h("code", {}, part.replace(/\n$/, "")));
    return part.split("\n").filter((line) => line.trim()).map((line) => {
      const head = line.match(/^#{1,6} (.*)$/);
      const item = line.match(/^\s*(?:[-*+]|(\d+)\.) (.*)$/);
      if (head) return h("p", { class: "md-head" }, inline(slackish(head[1]), names));
      if (item) return h("p", { class: "md-item" }, `${item[1] ? `${item[1]}.` : "•"} `, inline(slackish(item[2]), names));
      return h("p", {}, inline(slackish(line), names));
    });
  });
}
