// A GPU that is lent to a visitor for a while at a time, which only their browser may ask for. Where
// a server lends any, snapshots say of a run what came of it: "free" to be asked for, "asked" for,
// or "refused".
import { showNotice } from "./notices.js";
import { borrow } from "./server.js";

const PATIENCE = 3000; // ms until a question of which the server says nothing is asked again

// Look at a scene's new snapshot, after another one or none.
export function seekGpu(scene, before, now = Date.now()) {
  const { run, state, gpu } = scene.snapshot;
  if (gpu === "refused" && ["free", "asked"].includes(before?.gpu)) showNotice({ key: "no gpu" }, scene);
  const may = gpu === "free" || (gpu === "refused" && scene.pressed);
  if (!may || state !== "training" || now - scene.sought < PATIENCE) return;
  borrow(run, scene.pressed);
  Object.assign(scene, { sought: now, pressed: false });
}
