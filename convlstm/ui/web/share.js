// Files to take home, a checkpoint to bring back, and the link.
async function download(kind, button) {
  const scene = here;
  button.disabled = true;
  try {
    await scene.attached;
    const reply = await ask("download", { run: scene.run, kind });
    if (reply.notice) return showNotice(reply.notice, scene);
    const bytes = Uint8Array.from(atob(reply.content), (c) => c.charCodeAt(0));
    const url = URL.createObjectURL(new Blob([bytes]));
    make("a", { href: url, download: reply.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  } finally {
    button.disabled = false;
  }
}

async function openCheckpoint(input) {
  const [file] = input.files;
  input.value = ""; // so that the same file can be chosen again
  if (!file) return;
  const scene = here;
  let reply;
  try {
    await scene.attached;
    const { path } = await upload(file);
    reply = await ask("open_checkpoint", { run: scene.run, path });
  } catch {
    reply = { notice: { key: "too large" } };
  }
  if (reply.settings) Object.assign(scene.settings, reply.settings);
  if (reply.settings && scene === here) showSettings({});
  if (reply.notice) showNotice(reply.notice, scene);
}

async function copyLink(button) {
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

function buildHelp() {
  const list = $(".control-help");
  list.replaceChildren();
  for (const control of here.controls) {
    list.append(make("dt", {}, text(sceneKey(`name ${control.name}`))), make("dd", {}, text(sceneKey(`help ${control.name}`))));
  }
}
