// Training: a guided first drill, drills to choose from, a fault drawn in secret, and the debrief.
import { $, call, h, toast } from "./dom.js";

const FIRST = { title: "Your first recovery", fault: "control-plane-hangs", command: "/dr control-plane restart" };
let guide;  // the drill that is shown, and how far it is
let world;

/** Show the training part of the panel. */
export async function startTraining(page) {
  world = page;
  const drills = await call("/rehearsal/drills");
  if (!Array.isArray(drills)) return;
  $("training").hidden = false;
  $("first-drill").addEventListener("click", () => start(FIRST));
  $("surprise").addEventListener("click", surprise);
  $("debrief").addEventListener("click", debrief);
  $("drill-list").replaceChildren(...drills.map((drill) => h("div", { class: "fault" },
    h("button", { type: "button", "data-drill": drill.name, onclick: () => start(drill) }, drill.name), h("p", { class: "quiet" }, drill.title))));
  document.addEventListener("drawn", advance);
  document.addEventListener("seen", advance);
}

function start(drill) {
  const state = world.state();
  guide = { drill, step: 0, known: new Set(plans(state).map((one) => one.ts)), since: Date.now(), plan: undefined, run: undefined };
  $("tab-training").click();
  show();
  $("guide").scrollIntoView({ block: "nearest" });
  const button = $("guide").querySelector("button");
  if (button) button.focus();
}

const plans = (state) => Object.values(state.messages).flat().filter((one) => buttons(one).includes("dr_approve"));
const buttons = (message) => (message.blocks || []).flatMap((block) => block.elements || (block.accessory ? [block.accessory] : [])).map((one) => one.action_id);

/** The steps of a guided drill. `done` looks at the page's state and the panel's picture. */
const STEPS = [
  {
    says: () => "Break something. Customers get errors within a second or two.",
    button: (drill) => ["Break it now", async () => {
      const answer = await call("/rehearsal/faults", { name: drill.fault });
      if (answer.error) toast(answer.error); else { guide.step = 1; show(); }
    }],
  },
  {
    says: (drill) => `The pager tells the channel if customers notice. As one person, type ${drill.command} and press Enter.`,
    button: (drill) => ["Type it for me", () => { world.say(drill.command); $("composer").requestSubmit(); }],
    done: (state) => { guide.plan = plans(state).find((one) => !guide.known.has(one.ts)); return guide.plan; },
    tells: () => { guide.requester = world.person; },
  },
  {
    says: () => "Read the plan in the channel: what it found, what it will do, what that costs. Whoever asked can't approve, so become somebody else and press Approve.",
    button: () => ["Become a second person", async () => {
      await world.become(guide.requester === "bob" ? "alice" : "bob");
      const approve = document.querySelector(`#messages [data-ts="${guide.plan.ts}"] [data-action="dr_approve"]`);
      if (approve) { approve.scrollIntoView({ block: "center" }); approve.focus(); }
    }],
    done: (state) => !plans(state).some((one) => one.ts === guide.plan.ts),
  },
  {
    says: () => "The bot carries the plan out, and proves each step. If its card asks something, answer it. Watch the clocks above.",
    done: (state, picture) => picture && picture.witness.state === "healthy" && !busy(state),
  },
  { says: () => "Recovered. The debrief says what happened when, what was lost, and what an expert would have done.", button: () => ["Show the debrief", debrief] },
];

const busy = (state) => Object.values(state.messages).flat().some((one) => one.ts === guide.plan.ts && buttons(one).some((name) => ["dr_stop", "dr_hold_yes", "dr_retry"].includes(name)));

let picture;

function advance(event) {
  if (event.type === "seen") picture = event.detail;
  if (!guide || !world.state()) return;
  const step = STEPS[guide.step];
  if (!step.done || !step.done(world.state(), picture)) return;
  if (step.tells) step.tells();
  guide.step += 1;
  show();
}

function show() {
  const { drill, step } = guide;
  $("guide").hidden = false;
  $("guide-title").textContent = drill.title || drill.name;
  $("guide-steps").replaceChildren(...STEPS.map((one, number) => h("li", { class: number < step ? "past" : number === step ? "now" : "", "aria-current": number === step ? "step" : undefined },
    h("p", {}, number < step ? "✔ " : "", one.says(drill)),
    number === step && one.button && h("button", { type: "button", class: "primary", onclick: one.button(drill)[1] }, one.button(drill)[0]))));
  $("guide-status").textContent = `Step ${step + 1} of ${STEPS.length}.`;
}

async function surprise() {
  const answer = await call("/rehearsal/surprise", {});
  if (answer.error) toast(answer.error);
  else $("training-status").textContent = "Something will break within a quarter of a minute. The pager tells the channel; find out what it is.";
}

async function debrief() {
  const told = await call("/rehearsal/debrief");
  if (told.error) { toast(told.error); return; }
  const place = $("debrief-text");
  place.hidden = false;
  if (!told.fault) { place.replaceChildren(h("p", {}, "Nothing has been broken yet.")); return; }
  place.replaceChildren(
    h("h3", {}, `${told.fault}${told.hidden ? " (drawn in secret)" : ""}`),
    h("ol", {}, told.timeline.map((one) => h("li", {}, h("span", { class: "quiet" }, `${one.seconds.toFixed(1)} s `), one.text))),
    h("p", {}, `${told.over ? "Over" : "Not over yet"}. Outage: ${told.outage_seconds.toFixed(1)} s. Rows lost: ${told.rows_lost ?? "not counted yet"}.`),
    h("p", {}, told.expert ? `An expert would type ${told.expert}. ` : "", told.why));
  place.scrollIntoView({ block: "nearest" });
}
