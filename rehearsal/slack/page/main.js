// The page: asks for the state at every change that the server tells of, and draws it.
import { $, call, h, toast } from "./dom.js";
import { renderBlocks, standing } from "./blocks.js";
import { complete } from "./completion.js";
import { drawMessages, drawPins } from "./message.js";
import { showViews } from "./modal.js";
import { startSide } from "./side.js";
import { startTheme } from "./theme.js";
import { markRead, unread } from "./unread.js";

const HOME = "home";
const BUILT_IN = [
  { command: "/invite", usage_hint: "@name", description: "Invite somebody, or the bot, to this channel" },
  { command: "/leave", usage_hint: "", description: "Leave this channel" },
];
const query = new URLSearchParams(location.search);
const dismissed = new Set();
let state;

const known = (id) => state.people.find((person) => person.id === id || person.name === id);
const channel = (id) => state.channels.find((one) => one.id === id);
const names = { person: (id) => (known(id) || {}).name, channel: (id) => (channel(id) || {}).name };

const world = {
  person: query.get("person") || "alice",
  channel: query.get("channel") || undefined,
  thread: query.get("thread") || undefined,
  names,
  context: { names, people: () => state.people.filter((one) => !one.deleted), channels: () => state.channels.filter((one) => !one.person) },
  selections: (ts) => state.selections[ts] || {},
  shortcuts: (type) => state.shortcuts.filter((one) => one.type === type),
  personOf: (id) => known(id) || { name: id === "USLACKBOT" ? "Slackbot" : id, is_bot: id === "USLACKBOT" },
  dismiss: (ts) => { dismissed.add(ts); draw(); },
  openThread: (ts) => { world.thread = ts; draw(); $("thread-text").focus(); },
  become,
  clicked: undefined,  // the message in which a button was pressed last
  back: () => (document.querySelector(`#messages [data-ts="${world.clicked}"], #thread [data-ts="${world.clicked}"]`) || $("composer-text")).focus(),
  say: (text) => { $("composer-text").value = text; $("composer-text").focus(); },
  state: () => state,
};

// Asking and drawing.

let asked = false;
let again = false;

async function refresh() {
  if (asked) { again = true; return; }
  asked = true;
  const answer = await call(`/ui/state?person=${encodeURIComponent(world.person)}`);
  asked = false;
  if (answer.error) { $("connection").textContent = answer.error; $("connection").className = "off"; } else { state = answer; draw(); }
  if (again) { again = false; refresh(); }
}

function draw() {
  world.channel = channel(world.channel) || world.channel === HOME ? world.channel : (state.channels[0] || {}).id;
  const me = known(world.person);
  const home = world.channel === HOME;
  const messages = home ? [] : state.messages[world.channel] || [];
  if (!home && !document.hidden) markRead(world.person, world.channel, messages);
  drawConnection();
  drawChannels();
  drawPeople(me);
  $("channel-name").textContent = home ? "Disaster Recovery – home" : title(world.channel);
  $("channel-topic").textContent = home ? "" : (channel(world.channel) || {}).topic || "";
  $("composer").hidden = home;
  drawPins(messages);
  $("home").hidden = !home;
  $("messages").hidden = home;
  if (home) drawHome();
  else drawMessages($("messages"), withEphemerals(messages), world);
  drawThread(messages);
  showViews(state.views, world);
  document.dispatchEvent(new CustomEvent("drawn", { detail: world }));
}

const title = (id) => (id[0] === "D" ? "Disaster Recovery (direct message)" : `# ${names.channel(id)}`);

function withEphemerals(messages) {
  const mine = state.ephemerals.filter((one) => one.channel === world.channel && !dismissed.has(one.ts));
  return [...messages, ...mine].sort((one, other) => (one.ts < other.ts ? -1 : 1));
}

function drawConnection() {
  const bot = state.connected ? `Bot connected (${state.connected} ${state.connected === 1 ? "connection" : "connections"})` : "Bot not connected";
  const said = state.away ? "Slack is away" : bot;
  const place = $("connection");
  if (place.textContent !== said) place.textContent = said;
  place.className = state.connected && !state.away ? "on" : "off";
  $("away").hidden = !state.away;
  if (state.away) setTimeout(refresh, 1000);
}

function replaceIfChanged(place, key, make) {
  if (place.key === key) return;
  const focused = place.contains(document.activeElement);
  place.key = key;
  place.replaceChildren(...make());
  if (focused) (place.querySelector("[aria-current], input:checked") || place).focus();
}

function drawChannels() {
  const channels = [...state.channels.map((one) => [one.id, title(one.id), unread(world.person, one.id, state.messages[one.id] || [])]),
    ...(state.home_tab ? [[HOME, "Disaster Recovery – home", 0]] : [])];
  replaceIfChanged($("channels"), JSON.stringify([channels, world.channel]), () => channels.map(([id, name, count]) => h("li", {}, h("button", {
    type: "button", class: count ? "unread" : "", "aria-current": id === world.channel ? "page" : undefined, onclick: () => go(id),
  }, name, count > 0 && h("span", { class: "count" }, String(count), h("span", { class: "unseen" }, " unread"))))));
}

async function go(id) {
  world.channel = id;
  world.thread = undefined;
  document.body.classList.remove("show-left");
  draw();
  if (id === HOME) await call("/ui/home", { person: world.person });
}

function drawHome() {
  const view = state.home;
  const print = view && `${world.person}:${view.id}:${view.hash}`;
  if ($("home").print === print) return;
  $("home").print = print;
  if (!view) { $("home").replaceChildren(h("p", { class: "quiet" }, "The app shows nothing here yet.")); return; }
  const read = new Map();
  const context = {
    ...world.context, scope: view.id, kept: view.state.values, read,
    act: async (element, value) => {
      const answer = await call("/ui/click_view", { person: world.person, view_id: view.id, action_id: element.action_id, value, state: standing(read) });
      if (answer.error) toast(answer.error);
    },
  };
  $("home").replaceChildren(...renderBlocks(view.blocks, context));
}

function drawPeople(me) {
  const people = state.people.filter((person) => !person.is_bot && !person.deleted);
  replaceIfChanged($("people"), JSON.stringify([people, me && me.id]), () => [h("legend", {}, "Act as"), ...people.map((person) => h("label", { class: "tick" },
    h("input", { type: "radio", name: "person", value: person.name, checked: me && person.id === me.id, onchange: () => become(person.name) }),
    " ", person.real_name || person.name, h("span", { class: "quiet" }, person.title || "")))]);
  document.title = `${me ? me.name : world.person} – Shielda rehearsal`;
  $("me").textContent = me ? me.real_name : world.person;
  const other = people.find((person) => me && person.id !== me.id);
  if (other) $("second").href = `/?person=${other.name}`;
}

function become(name) {
  world.person = name;
  query.set("person", name);
  history.replaceState(null, "", `?${query}`);
  return refresh();
}

function drawThread(messages) {
  const parent = world.thread && messages.find((message) => message.ts === world.thread);
  $("thread").hidden = !parent;
  document.body.classList.toggle("with-thread", Boolean(parent));
  if (parent) drawMessages($("thread-messages"), [{ ...parent, thread_ts: "shown" }, ...parent.replies], world);
}

// Writing.

function composer(form, field, send) {
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
  });
  field.addEventListener("input", () => { field.rows = Math.min(8, field.value.split("\n").length); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (!text) return;
    field.value = "";
    field.rows = 1;
    field.dispatchEvent(new Event("input"));
    const answer = await send(text);
    if (answer && answer.error && !answer.explained) toast(answer.error);
  });
}

/** Send a command. If it fails, Slack says so in a message, so that no notice is needed. */
async function command(name, text) {
  const answer = await call("/ui/command", { person: world.person, channel: world.channel, text, command: name });
  return { ...answer, explained: "acked" in answer };
}

function say(text) {
  const name = state.commands.find((one) => text === one || text.startsWith(`${one} `));
  if (name) return command(name, text.slice(name.length).trim());
  if (text === "/leave") return call("/ui/join", { person: world.person, channel: world.channel, leave: true });
  if (text.startsWith("/invite @")) return call("/ui/join", { person: text.slice(9).trim(), channel: world.channel });
  if (text[0] === "/") return { error: `${text.split(" ")[0]} is not a valid command.` };
  return call("/ui/post", { person: world.person, channel: world.channel, text });
}

function reply(text) {
  if (state.commands.some((one) => text === one || text.startsWith(`${one} `))) return { error: "Slack has no commands in threads; write it in the channel." };
  return call("/ui/post", { person: world.person, channel: world.channel, text, thread_ts: world.thread });
}

function closeThread() {
  const ts = world.thread;
  world.thread = undefined;
  draw();
  (document.querySelector(`#messages [data-ts="${ts}"] .thread-foot button`) || $("composer-text")).focus();
}

/** A WebSocket rather than an event stream, of which a browser allows six for a host: more windows would freeze each other. */
function listen() {
  const live = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ui/live`);
  live.onmessage = refresh;
  live.onclose = () => {
    $("connection").textContent = "The rehearsal doesn't answer.";
    $("connection").className = "off";
    setTimeout(listen, 1000);
  };
}

for (const [button, side] of [["open-left", "show-left"], ["open-side", "show-side"]]) {
  $(button).addEventListener("click", () => {
    const other = side === "show-left" ? "show-side" : "show-left";
    document.body.classList.remove(other);
    const open = document.body.classList.toggle(side);
    $(button).setAttribute("aria-expanded", String(open));
  });
}
complete($("composer-text"), $("completions"), () => (state ? [...state.command_hints, ...BUILT_IN] : []));
composer($("composer"), $("composer-text"), say);
composer($("thread-composer"), $("thread-text"), reply);
$("thread-close").addEventListener("click", closeThread);
document.addEventListener("visibilitychange", () => { if (!document.hidden && state) draw(); });
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  if (document.body.classList.contains("show-left") || document.body.classList.contains("show-side")) document.body.classList.remove("show-left", "show-side");
  else if (world.thread) closeThread();
});
startTheme();
listen();
startSide(world);
