// Files to take home, a checkpoint to bring back, and the link.
import { $, make, setText } from "./dom.js";
import { showNotice } from "./notices.js";
import { askRun } from "./runs.js";
import { here } from "./scenes.js";
import { send } from "./server.js";
import { showSettings } from "./settings.js";
import { text } from "./words.js";

const PATIENCE = 1000; // ms after which a button says that its file is being made

export async function download(kind, button) {
  const scene = here, saying = setTimeout(() => setText(button, text("being made")), PATIENCE);
  button.disabled = true;
  try {
    const reply = await askRun("download", { kind }, scene);
    if (reply?.notice) showNotice(reply.notice, scene);
    else if (reply) make("a", { href: reply.url, download: reply.name }).click();
  } finally {
    clearTimeout(saying);
    setText(button, text(`get ${kind}`));
    button.disabled = false;
  }
}

export async function openCheckpoint(input) {
  const [file] = input.files, scene = here;
  input.value = ""; // so that the same file can be chosen again
  if (!file) return;
  let reply;
  try {
    const { path } = await send(file);
    reply = await askRun("open_checkpoint", { path }, scene);
  } catch {
    reply = { notice: { key: "too large" } };
  }
  if (!reply) return;
  if (reply.settings) Object.assign(scene.settings, reply.settings);
  if (reply.settings && scene === here) showSettings();
  if (reply.notice) showNotice(reply.notice, scene);
}

const OURS = ["view", "class", "lesson"]; // in an address, but no settings

// A link's settings; what Gradio adds for itself is none.
export function queryOf(search) {
  const query = Object.fromEntries([...new URLSearchParams(search)].filter(([key]) => !key.startsWith("__") && !OURS.includes(key)));
  return Object.keys(query).length ? query : null;
}

export async function copyLink(button) {
  const field = $("[data-link]");
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    document.execCommand("copy"); // where the clipboard needs https
  }
  setText(button, text("copied"));
  setTimeout(() => setText(button, text("copy")), 1500);
}
