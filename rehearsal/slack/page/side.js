// The panel of the world: clocks, the map, the fleet, faults and drills, and the journal. Shown only if the server has it.
import { $, call, h, toast } from "./dom.js";
import { startTraining } from "./training.js";

const EVERY_MS = 1000;
const SIGNS = { good: "✔", bad: "✖", busy: "◐", unknown: "?" };
const counted = [];  // [when in ms, rows acknowledged], of the last seconds
let latest;

/** What the panel saw last, or undefined. */
export const seen = () => latest;

/** Show the panel if the rehearsal has one. */
export async function startSide(world) {
  const faults = await call("/rehearsal/faults");
  if (!Array.isArray(faults)) return;
  $("rehearsal").hidden = false;
  $("open-side").hidden = false;
  document.body.classList.add("with-side");
  drawFaults(faults);
  tabs();
  startTraining(world);
  watch();
}

function tabs() {
  const buttons = [...document.querySelectorAll("#side-tabs [role=tab]")];
  const choose = (chosen) => buttons.forEach((button) => {
    button.setAttribute("aria-selected", String(button === chosen));
    button.tabIndex = button === chosen ? 0 : -1;
    $(button.getAttribute("aria-controls")).hidden = button !== chosen;
  });
  buttons.forEach((button, number) => {
    button.addEventListener("click", () => { choose(button); if (button.id === "tab-journal") drawJournal(); });
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = buttons[(number + step + buttons.length) % buttons.length];
      next.click();
      next.focus();
    });
  });
  choose(buttons[0]);
}

async function watch() {
  if (!document.hidden) {
    const answer = await call("/rehearsal/world");
    if (!answer.error) { latest = answer; draw(answer); }
    if (!$("panel-journal").hidden) await drawJournal();
  }
  setTimeout(watch, EVERY_MS);
}

function draw(picture) {
  drawClocks(picture);
  drawMap(picture.nodes);
  drawFleet(picture.fleet);
  document.dispatchEvent(new CustomEvent("seen", { detail: picture }));
}

/** Only what has changed is written, so that screen readers aren't told the same again. */
function put(place, key, make) {
  if (place.print === key) return;
  place.print = key;
  place.replaceChildren(...make());
}

function drawClocks({ witness, followers }) {
  counted.push([Date.now(), witness.acknowledged]);
  while (counted.length > 6) counted.shift();
  const [[from, before], [to, now]] = [counted[0], counted.at(-1)];
  const rate = to > from ? Math.max(0, ((now - before) * 1000) / (to - from)) : 0;
  const down = witness.state === "down";
  const outage = witness.outages.length ? `${witness.outage_seconds.toFixed(1)} s${down ? " so far" : ""}` : "none yet";
  const lost = witness.rows_lost === null ? (witness.outages.length && !down ? "counting…" : "–") : String(witness.rows_lost);
  const lag = followers === null ? "unknown: the database doesn't answer" : followers.map((one) => `${one.name} ${one.lag_seconds.toFixed(1)} s`).join(", ") || "no replica follows";
  const rows = [
    ["Customers", down ? "get errors" : "are served", down ? "bad" : "good"],
    ["Outage", outage, down ? "bad" : ""],
    ["Rows lost", lost, Number(lost) > 0 ? "bad" : ""],
    ["Writes per second", rate.toFixed(1), ""],
    ["Replication lag", lag, followers === null ? "bad" : ""],
  ];
  put($("clocks"), JSON.stringify(rows), () => rows.flatMap(([name, value, health]) => [h("dt", {}, name), h("dd", { class: health && `health-${health}` }, value)]));
}

function drawMap(nodes) {
  const places = [...new Set(nodes.map((node) => node.place))];
  put($("map"), JSON.stringify(nodes), () => places.map((place) => h("div", { class: "place" }, h("h3", {}, place),
    h("ul", {}, nodes.filter((node) => node.place === place).map((node) => h("li", { class: `node health-${node.health}` },
      h("span", { class: "mark", role: "img", "aria-label": node.health }, SIGNS[node.health]), h("div", {}, h("strong", {}, node.title), h("div", { class: "quiet" }, node.says))))))));
}

function drawFleet(fleet) {
  $("fleet").hidden = !fleet.length;
  const well = fleet.filter((one) => one.beats).length;
  put($("fleet-grid"), JSON.stringify(fleet), () => fleet.map((one) => h("li", { class: `host health-${one.beats ? "good" : "bad"}`, title: `${one.name}: ${one.state || ""}${one.zone ? `, ${one.zone}` : ""}` },
    h("span", { class: "unseen" }, `${one.name} ${one.beats ? "reports" : "is silent"}`))));
  $("fleet-says").textContent = `${well} of ${fleet.length} agents report.`;
}

async function drawJournal() {
  const answer = await call("/rehearsal/calls");
  if (answer.error) return;
  put($("calls"), JSON.stringify(answer.calls), () => (answer.calls.length ? answer.calls : [undefined]).map((one) => (one
    ? h("li", { class: one.result === "ok" ? "" : "health-bad" }, h("code", {}, `${one.service} ${one.operation}`), ` ${one.region} ${one.result}${one.fault ? `, fault ${one.fault}` : ""}`,
      h("span", { class: "quiet" }, ` ${one.at.slice(11, 19)}`))
    : h("li", { class: "quiet" }, "The bot has changed nothing in AWS."))));
  put($("statements"), JSON.stringify(answer.statements), () => (answer.statements.length ? answer.statements : [""]).map((one) => h("li", {}, one
    ? h("code", {}, one.replace(/^.*? LOG: {2}(statement|execute [^:]*): /, "").slice(0, 300)) : "The bot has asked the database nothing.")));
}

function drawFaults(list) {
  const kinds = [...new Set(list.map((fault) => fault.kind))];
  $("fault-list").replaceChildren(...kinds.map((kind) => h("section", { class: "fault-kind" },
    kind && h("h3", {}, kind), list.filter((fault) => fault.kind === kind).map(faultButton))));
}

function faultButton(fault) {
  return h("div", { class: "fault" },
    h("button", { type: "button", "data-fault": fault.name, onclick: (event) => cause(fault, event.currentTarget) }, fault.title || fault.name),
    fault.says && h("p", { class: "quiet" }, fault.says));
}

/** Cause a fault; also used by drills. */
export async function cause(fault, button) {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  const answer = await call("/rehearsal/faults", { name: fault.name });
  button.removeAttribute("aria-busy");
  if (answer.error) toast(answer.error);
  $("fault-status").textContent = answer.error ? "" : answer.says || `Done: ${fault.title || fault.name}.`;
}
