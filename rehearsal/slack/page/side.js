// The right panel of the rehearsal: what the witness measures, and the faults you can cause. Shown only if the server has them.
import { $, call, h, toast } from "./dom.js";

const WITNESS_MS = 1000;

/** Show the panel if the rehearsal has faults and a witness. */
export async function startSide() {
  const [faults, witness] = await Promise.all([call("/rehearsal/faults"), call("/rehearsal/witness")]);
  const list = Array.isArray(faults) ? faults : faults.faults;
  if (Array.isArray(list)) showFaults(list);
  if (!witness.error) { showWitness(witness); setInterval(watch, WITNESS_MS); }
  $("rehearsal").hidden = $("faults").hidden && $("witness").hidden;
  document.body.classList.toggle("with-side", !$("rehearsal").hidden);
}

function showFaults(list) {
  const kinds = [...new Set(list.map((fault) => fault.kind))];
  $("fault-list").replaceChildren(...kinds.map((kind) => h("section", { class: "fault-kind" },
    kind && h("h3", {}, kind), list.filter((fault) => fault.kind === kind).map(faultButton))));
  $("faults").hidden = false;
}

function faultButton(fault) {
  return h("div", { class: "fault" },
    h("button", { type: "button", onclick: (event) => put(fault, event.currentTarget) }, fault.title || fault.name),
    fault.says && h("p", { class: "quiet" }, fault.says));
}

async function put(fault, button) {
  button.disabled = true;
  const answer = await call("/rehearsal/faults", { name: fault.name });
  button.disabled = false;
  if (answer.error) toast(answer.error);
  $("fault-status").textContent = answer.error ? "" : answer.says || `Done: ${fault.title || fault.name}.`;
}

async function watch() {
  if (document.hidden) return;
  const witness = await call("/rehearsal/witness");
  if (!witness.error) showWitness(witness);
}

function showWitness(witness) {
  const rows = Object.entries(witness).flatMap(([name, value]) => [
    h("dt", {}, name.replaceAll("_", " ")),
    h("dd", { class: name === "state" ? `state-${value}` : "" }, format(value)),
  ]);
  $("witness").querySelector("dl").replaceChildren(...rows);
  $("witness").hidden = false;
}

/** A measured value for people: the length of a list, the time of day, or a dash if it isn't known yet. */
function format(value) {
  if (value === null) return "–";
  if (Array.isArray(value)) return String(value.length);
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : value.toFixed(1);
  return String(value).replace(/^\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d).*/, "$1 UTC");
}
