// The page: asks for the state at every change that the server tells of, and draws it.
import { $, call, h, toast } from "./dom.js";
import { renderBlocks } from "./blocks.js";
import { drawMessages, drawPins } from "./message.js";
import { showViews } from "./modal.js";
import { startSide } from "./side.js";

const HOME = "home";
const query = new URLSearchParams(location.search);
const dismissed = new Set();
let state;

const world = {
  person: query.get("person") || "alice",
  channel: query.get("channel") || undefined,
  thread: query.get("thread") || undefined,
  names: { person: (id) => (known(id) || {}).name, channel: (id) => (state.channels.find((one) => one.id === id) || {}).name },
  personOf: (id) => known(id) || { name: id === "USLACKBOT" ? "Slackbot" : id, is_bot: id === "USLACKBOT" },
  dismiss: (ts) => { dismissed.add(ts); draw(); },
  openThread: (ts) => { world.thread = ts; draw(); $("thread-text").focus(); },
};

const known = (id) => state.people.find((person) => person.id === id || person.name === id);

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
  world.channel = state.channels.some((one) => one.id === world.channel) || (world.channel === HOME && state.home) ? world.channel : state.channels[0].id;
  const me = known(world.person);
  drawConnection();
  drawChannels();
  drawPeople(me);
  const home = world.channel === HOME;
  const messages = home ? [] : state.messages[world.channel];
  $("channel-name").textContent = home ? "DR bot – home" : title(world.channel);
  $("composer").hidden = home;
  drawPins(messages);
  if (home) $("messages").replaceChildren(h("div", { class: "home" }, renderBlocks(state.home.blocks, { names: world.names, act: () => toast("Buttons of the home view aren't part of the rehearsal.") })));
  else drawMessages($("messages"), withEphemerals(messages), world);
  drawThread(messages);
  showViews(state.views, world.person, { names: world.names, act: () => toast("Buttons inside a form aren't part of the rehearsal.") });
}

const title = (id) => (id[0] === "D" ? "DR bot (direct message)" : `# ${world.names.channel(id)}`);

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
  const channels = [...state.channels.map((one) => [one.id, title(one.id)]), ...(state.home ? [[HOME, "DR bot – home"]] : [])];
  replaceIfChanged($("channels"), JSON.stringify([channels, world.channel]), () => channels.map(([id, name]) => h("li", {}, h("button", {
    type: "button", "aria-current": id === world.channel ? "page" : undefined, onclick: () => { world.channel = id; world.thread = undefined; draw(); },
  }, name))));
}

function drawPeople(me) {
  const people = state.people.filter((person) => !person.is_bot && !person.deleted);
  replaceIfChanged($("people"), JSON.stringify([people, me && me.id]), () => [h("legend", {}, "Act as"), ...people.map((person) => h("label", { class: "tick" },
    h("input", { type: "radio", name: "person", value: person.name, checked: me && person.id === me.id, onchange: () => become(person.name) }),
    " ", person.real_name || person.name, h("span", { class: "quiet" }, person.title || "")))]);
  document.title = `${me ? me.name : world.person} – Shielda rehearsal`;
  const other = people.find((person) => me && person.id !== me.id);
  if (other) $("second").href = `/?person=${other.name}`;
}

function become(name) {
  world.person = name;
  query.set("person", name);
  history.replaceState(null, "", `?${query}`);
  refresh();
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
  if (text[0] === "/") return { error: `${text.split(" ")[0]} is not a valid command.` };
  return call("/ui/post", { person: world.person, channel: world.channel, text });
}

function reply(text) {
  if (state.commands.some((one) => text === one || text.startsWith(`${one} `))) return { error: "Slack has no commands in threads; write it in the channel." };
  return call("/ui/post", { person: world.person, channel: world.channel, text, thread_ts: world.thread });
}

function closeThread() {
  world.thread = undefined;
  draw();
  $("composer-text").focus();
}

function listen() {
  const events = new EventSource("/ui/events");
  events.onopen = refresh;
  events.onmessage = refresh;
  events.onerror = () => { $("connection").textContent = "The rehearsal doesn't answer."; $("connection").className = "off"; };
}

composer($("composer"), $("composer-text"), say);
composer($("thread-composer"), $("thread-text"), reply);
$("thread-close").addEventListener("click", closeThread);
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && world.thread && !document.querySelector("dialog[open]")) closeThread(); });
listen();
startSide();
