// Small helpers: elements without innerHTML, calls of the control API, and a notice to the person.

/** An element; `properties` are attributes, `on…` listeners, or `class`. Strings become text, never markup. */
export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

export const $ = (id) => document.getElementById(id);

/** Ask the server; resolves to the JSON, or to {error: sentence} when it refuses or is not there. */
export async function call(path, body) {
  const post = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  try {
    const response = await fetch(path, body === undefined ? {} : post);
    const answer = await response.json();
    return response.ok ? answer : { error: answer.error || `The server answered ${response.status}.` };
  } catch (error) {
    return { error: `The rehearsal doesn't answer (${error.message}).` };
  }
}

const WORDS = {
  operation_timeout: "The app did not respond within 3 seconds.",
  no_connection: "The app is not connected, so nobody heard this.",
  slack_away: "Slack is away: this was not sent.",
  incomplete: "Please complete the required fields.",
};

/** Show the person for a while what went wrong. */
export function toast(error) {
  const note = h("p", { class: "toast" }, WORDS[error] || String(error));
  $("toasts").append(note);
  setTimeout(() => note.remove(), 8000);
}

/** Only addresses that lead to the web; anything else is not made a link. */
export const safe = (url) => (/^(https?:|mailto:)/i.test(url || "") ? url : undefined);

export const link = (url, ...text) =>
  safe(url) ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, ...text) : h("span", {}, ...text);
