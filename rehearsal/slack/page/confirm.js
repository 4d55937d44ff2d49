// The confirmation that Slack asks for before it sends a click.
import { h } from "./dom.js";
import { text } from "./mrkdwn.js";

/** Ask "are you sure?"; resolves to whether the person said yes. */
export function confirmed(confirm, context) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { class: "confirm", onclose: () => { resolve(dialog.returnValue === "yes"); dialog.remove(); } },
      h("form", { method: "dialog" },
        h("h2", {}, text(confirm.title, context)), h("div", { class: "dialog-body" }, text(confirm.text, context)),
        h("div", { class: "dialog-foot" },
          h("button", { value: "no" }, text(confirm.deny, context)),
          h("button", { value: "yes", class: confirm.style || "primary" }, text(confirm.confirm, context)))));
    document.body.append(dialog);
    dialog.showModal();
  });
}
