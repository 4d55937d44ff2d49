// Which messages a person has seen, kept in this browser.

const key = (person) => `read:${person}`;

function marks(person) {
  try { return JSON.parse(localStorage.getItem(key(person))) || {}; } catch { return {}; }
}

/** The newest message of a list, replies too. */
const newest = (messages) => messages.flatMap((one) => [one, ...(one.replies || [])]).reduce((last, one) => (one.ts > last ? one.ts : last), "");

/** The person has seen all these messages of a channel. */
export function markRead(person, channel, messages) {
  const kept = marks(person);
  const last = newest(messages);
  if (!last || kept[channel] >= last) return;
  try { localStorage.setItem(key(person), JSON.stringify({ ...kept, [channel]: last })); } catch { /* a browser that keeps nothing shows everything as new */ }
}

/** How many messages of a channel the person has not seen. */
export function unread(person, channel, messages) {
  const last = marks(person)[channel] || "";
  return messages.flatMap((one) => [one, ...(one.replies || [])]).filter((one) => one.ts > last).length;
}
