// The page: what a viewer does goes to the server, what the server knows comes back as snapshots.
async function ask(name, payload) {
  const offline = { notice: { key: "offline" } };
  try {
    return (await server[name](payload)) ?? offline; // Gradio's client answers a dead line with nothing
  } catch {
    return offline;
  }
}

// Find a scene's run again, or open one; a link's query brings settings.
async function attach(scene, query) {
  const first = !scene.settled;
  scene.attaching = true;
  const reply = await ask("attach", { run: scene.run, query, scene: scene.name });
  scene.attaching = false;
  scene.heard = Date.now(); // without a run it is asked for again
  if (reply.run) {
    scene.run = reply.run;
    scene.settled = true;
    remember(`run-${scene.name}`, scene.run);
    if (first || reply.notice?.key === "restarted") {
      Object.assign(scene.settings, reply.settings);
      if (scene === here) showSettings({});
    }
    trigger("follow", { run: scene.run });
  }
  if (reply.notice) showNotice(reply.notice, scene);
}

function linkQuery() {
  const query = Object.fromEntries([...new URLSearchParams(location.search)].filter(([key]) => !key.startsWith("__") && key !== "view"));
  return Object.keys(query).length ? query : null;
}

// A stream that fell silent (sleeping laptop, lost network, server gone) is asked for again.
const SILENCE = 7000;
setInterval(() => {
  for (const scene of Object.values(scenes)) {
    if (!scene.heard || scene.attaching || Date.now() - scene.heard <= SILENCE) continue;
    scene.heard = Date.now() - SILENCE + 3000;
    attach(scene, null);
  }
}, 1000);

watch("value", () => {
  const value = props.value;
  const scene = Object.values(scenes).find(({ run }) => run && run === value?.run);
  if (!scene) return;
  scene.heard = Date.now();
  if (value.notice?.key === "lost") return attach(scene, null);
  if (scene.notice?.key === "offline") showNotice(null, scene);
  scene.snapshot = value;
  if (scene === here) showSnapshot();
});

function showSnapshot() {
  const { snapshot } = here;
  if (!snapshot) return;
  showStatus(snapshot);
  drawCurve(snapshot);
  if (here.name === "squares") {
    showTiles(snapshot);
    showPicture(snapshot.picture);
  } else {
    showValidation(snapshot);
    showForecast(snapshot.picture);
  }
}

function showStatus(s) {
  const state = s.shipped ? "shipped" : s.state;
  element.dataset.state = state;
  const active = s.state === "training" || s.state === "waiting";
  $("[data-do=train]").hidden = active;
  $("[data-do=pause]").hidden = !active;
  $("[data-do=stop]").disabled = !active && s.state !== "paused";
  setText($("[data-do=train] [data-text]"), text(s.state === "paused" ? "continue" : "train"));
  const parts = [text(`state ${state}`, { place: s.place })];
  if (!s.shipped) parts.push(s.epochs ? text("epoch", { n: s.epoch, of: s.epochs }) : text("step of", { n: s.step, of: s.steps }));
  if (s.state === "training" && s.horizon < 10) parts.push(text("horizon now", { n: s.horizon }));
  if (s.state === "training" && s.stepMs) parts.push(text("a step", { ms: s.stepMs }), text("left", { time: duration(s.left) }));
  parts.push(s.device === "CUDA" ? "GPU" : s.device);
  if (s.reason) parts.push(text(`reason ${s.reason}`));
  setText($(".status-text"), parts.join(" · "));
  const advice = { diverged: "advice diverged", goal: "", failed: "advice failed" }[s.state];
  const black = s.scores?.isBlack && s.step >= 30;
  for (const line of $$(".advice")) setText(line, advice ? text(advice, { reason: s.reason }) : black ? text("advice black") : "");
}

function showTiles({ scores }) {
  const put = (name, value, note, good) => {
    setText($(`[data-score=${name}]`), value);
    const line = $(`[data-note=${name}]`);
    setText(line, note);
    line.classList.toggle("good", Boolean(good));
  };
  if (!scores) {
    for (const name of ["mse", "ssim", "skill", "psnr"]) put(name, "–", text("no score"));
    return;
  }
  const { model, copyLast, black, skill } = scores;
  const ratio = copyLast.mse / model.mse;
  put("mse", small(model.mse), ratio >= 1 ? text("better", { n: ratio.toFixed(1) }) : text("worse", { n: (1 / ratio).toFixed(1) }), ratio >= 1.05);
  put("ssim", model.ssim.toFixed(3), text("ssim note", { black: black.ssim.toFixed(3), copy: copyLast.ssim.toFixed(3) }), model.ssim > Math.max(black.ssim, copyLast.ssim));
  put("skill", `${Math.max(-999, Math.round(100 * skill))} %`, text("skill note"));
  put("psnr", `${model.psnr.toFixed(1)} dB`, text("psnr note", { copy: copyLast.psnr.toFixed(1) }));
}

// A notice: something refused, something found, or a change that waits for a reset.
function showNotice(next, scene = here) {
  scene.notice = next;
  if (scene !== here) return;
  $(".notice").hidden = !next;
  if (!next) return;
  $(".notice").dataset.kind = ["opened", "restarted"].includes(next.key) ? "fact" : "refusal";
  setText($(".notice-text"), wordNotice(next));
}
function wordNotice(n) {
  if (n.key === "refused") {
    const value = String(n.value);
    const rule = text(`rule ${n.rule}`, n.details);
    return text("refused", { name: props.texts[language][sceneKey(`name ${n.name}`)] ?? n.name, value, rule });
  }
  if (n.key === "reset") return text("notice reset", { names: n.names.map((name) => text(sceneKey(`name ${name}`))).join(", ") });
  return text(`notice ${n.key}`, { text: n.text ?? "" });
}

async function act(action) {
  const scene = here;
  await scene.attached; // pressed before the scene had its run
  const reply = await ask("act", { action, run: scene.run, settings: scene.settings });
  if (reply.notice?.key === "lost") return attach(scene, null);
  showNotice(reply.notice ?? null, scene);
}

// Speed and learning rate of a run under way change at once; anything else asks for a reset.
function announceSettings() {
  const { snapshot, notice } = here;
  const underWay = snapshot && !snapshot.shipped && ["training", "waiting", "paused"].includes(snapshot.state);
  if (underWay) act("change");
  else if (notice?.key === "refused" || notice?.key === "reset") showNotice(null);
}

let looking = 0;
function look(sample, lookAhead) {
  showLookAhead(lookAhead);
  clearTimeout(looking);
  const { run } = here;
  looking = setTimeout(() => ask("look", { run, sample, lookAhead }), 60);
}
function turnSample(by) {
  const picture = here.snapshot?.picture;
  if (!picture) return;
  const { sample, samples, lookAhead } = picture;
  look((sample + by + samples) % samples, lookAhead);
}

const ACTIONS = {
  train: () => act("train"),
  pause: () => act("pause"),
  step: () => act("step"),
  stop: () => act("stop"),
  reset: () => act("reset"),
  dismiss: () => showNotice(null),
  previous: () => turnSample(-1),
  next: () => turnSample(1),
  animate: toggleAnimation,
  copy: copyLink,
  "forecast-previous": () => turnForecast(-1),
  "forecast-next": () => turnForecast(1),
  play: playForecast,
  "clear-pad": clearPad,
  "send-drawing": sendDrawing,
  closeup: (button) => {
    closeUp = !closeUp;
    button.setAttribute("aria-pressed", String(closeUp));
    drawStage();
  },
  language: () => {
    language = language === "en" ? "zh" : "en";
    remember("language", language);
    showWords();
  },
  theme: () => {
    const dark = document.body.classList.toggle("dark");
    remember("theme", dark ? "dark" : "light");
    drawStage();
    drawForecast();
  },
  projector: () => showProjector(!element.classList.contains("projector")),
};

function showProjector(on) {
  element.classList.toggle("projector", on);
  requestAnimationFrame(showSnapshot);
  requestAnimationFrame(drawStage);
  requestAnimationFrame(drawForecast);
}

function showWords() {
  wordPage();
  buildHelp();
  showSettings({});
  showDescription();
  if (here.notice) setText($(".notice-text"), wordNotice(here.notice));
  if (here.snapshot) showSnapshot();
  else {
    element.dataset.state = "connecting";
    $("[data-do=train]").hidden = false;
    $("[data-do=pause]").hidden = true;
    setText($(".status-text"), text("connecting"));
    $("svg.curve").replaceChildren();
  }
  drawStage();
  drawForecast();
}

function openTab(name) {
  for (const tab of $$("[data-tab]")) {
    const open = tab.dataset.tab === name;
    tab.setAttribute("aria-selected", String(open));
    tab.tabIndex = open ? 0 : -1;
  }
  for (const panel of $$(".tab-panel")) panel.hidden = panel.id !== `cp-${name}`;
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || button.disabled) return;
  if (button.dataset.scene) enterScene(button.dataset.scene);
  else if (button.dataset.tab) openTab(button.dataset.tab);
  else if (button.dataset.download) download(button.dataset.download, button);
  else ACTIONS[button.dataset.do]?.(button);
});
element.addEventListener("change", (event) => {
  const { target } = event;
  if (target.dataset.do === "upload") openCheckpoint(target);
  if (target.dataset.do === "preset" && target.value) {
    showSettings(here.presets[target.value]);
    announceSettings();
  }
});
element.addEventListener("input", (event) => {
  if (event.target.dataset.do === "angle") showAngle();
  const picture = here.snapshot?.picture;
  if (event.target.dataset.do === "look" && picture) look(picture.sample, Number(event.target.value));
});
// Among the tabs the arrows go from tab to tab, as screen readers expect.
element.addEventListener("keydown", (event) => {
  if (!event.target.dataset.tab || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
  event.stopPropagation();
  const other = $$("[data-tab]").find((tab) => tab !== event.target);
  openTab(other.dataset.tab);
  other.focus();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea, button, summary, a");
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === "Escape") return showProjector(false);
  if (typing && !(event.target.tagName === "BUTTON" && event.key !== " " && event.key !== "Enter")) return;
  const training = ["training", "waiting"].includes(here.snapshot?.state);
  const [previous, next] = here.name === "squares" ? ["previous", "next"] : ["forecast-previous", "forecast-next"];
  const action = { " ": training ? "pause" : "train", s: "step", r: "reset", ArrowLeft: previous, ArrowRight: next }[event.key];
  if (!action) return;
  event.preventDefault();
  ACTIONS[action]();
});
new ResizeObserver(() => {
  if (here.snapshot) drawCurve(here.snapshot);
  if (frames) drawLeadTimes($("svg.lead"), frames.picture);
  drawForecast();
}).observe(element);

document.head.append(make("style", {}, props.style));
$(".cp").innerHTML = props.markup;
const theme = recall("theme");
if (theme) document.body.classList.toggle("dark", theme === "dark");
preparePad();
showAngle();
const query = linkQuery();
enterScene(firstScene(query), query);
