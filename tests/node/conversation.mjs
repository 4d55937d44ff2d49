// An app of the official Bolt for Node that takes part in a conversation, and prints what it hears, one JSON object a line.
import bolt from "@slack/bolt";

const [base] = process.argv.slice(2);
const tell = (what, more = {}) => process.stdout.write(`${JSON.stringify({ what, ...more })}\n`);
const plain = (text) => ({ type: "plain_text", text });
const button = (action_id, text) => ({ type: "actions", elements: [{ type: "button", action_id, text: plain(text), value: "v1" }] });
const form = {
  type: "modal", callback_id: "confirm", title: plain("Confirm"), submit: plain("Approve"),
  blocks: [{ type: "input", block_id: "name", label: plain("Its name"), element: { type: "plain_text_input", action_id: "typed" } }],
};

const app = new bolt.App({
  token: "xoxb-rehearsal", appToken: "xapp-rehearsal", socketMode: true, logLevel: "error",
  clientOptions: { slackApiUrl: `${base}/api/` },
});

app.command("/dr", async ({ ack, command, client }) => {
  await ack(`You typed ${command.text}.`);
  await client.chat.postMessage({ channel: command.channel_id, text: "A plan", blocks: [button("approve", "Approve")] });
  tell("command", { text: command.text });
});
app.action("approve", async ({ ack, body, client }) => {
  await ack();
  await client.views.open({ trigger_id: body.trigger_id, view: { ...form, private_metadata: body.message.ts } });
  tell("action", { value: body.actions[0].value });
});
app.view("confirm", async ({ ack, view, client }) => {
  const typed = view.state.values.name.typed.value;
  if (typed !== "shielda-prod") { await ack({ response_action: "errors", errors: { name: "That is not its name." } }); return; }
  await ack();
  await client.chat.update({ channel: "C0INCIDENT", ts: view.private_metadata, text: "Approved", blocks: [] });
  tell("view", { typed });
});
app.event("app_home_opened", async ({ event, client }) => {
  await client.views.publish({ user_id: event.user, view: { type: "home", blocks: [button("from_home", "Plan")] } });
  tell("home", { tab: event.tab });
});
app.action("from_home", async ({ ack, body }) => { await ack(); tell("from_home", { view: body.view.type }); });
app.shortcut("save_evidence", async ({ ack, shortcut, respond }) => {
  await ack();
  await respond({ text: "Saved.", response_type: "ephemeral" });
  tell("shortcut", { text: shortcut.message.text });
});
app.event("app_mention", async ({ event, client }) => {
  await client.reactions.add({ channel: event.channel, timestamp: event.ts, name: "eyes" });
  tell("mention", { text: event.text });
});
app.message("hello", async ({ message, say }) => { await say({ text: "Hello, too.", thread_ts: message.ts }); tell("message", { text: message.text }); });

await app.start();
tell("started");
process.stdin.on("end", async () => { await app.stop(); process.exit(0); }).resume();
