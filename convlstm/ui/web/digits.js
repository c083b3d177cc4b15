// Moving MNIST: ten frames that the model saw, the ten that followed, and its forecast of them.
const ROWS = ["input", "truth", "prediction", "error"];
const PAD = 56; // px of a drawing that are sent
const PLAYED = 128; // px on the screen
let forecast = null; // {picture, input, truth, prediction}: arrays of Uint8ClampedArray
let playing = 0, played = false, playedFrame = 0; // played: it starts by itself only once

async function showForecast(picture) {
  const all = await unpack("digits", picture);
  if (!all) return;
  const seen = picture.context;
  const later = (all.length - seen) / 2;
  forecast = { picture, input: all.slice(0, seen), truth: all.slice(seen, seen + later), prediction: all.slice(seen + later) };
  if (!played && !matchMedia("(prefers-reduced-motion: reduce)").matches) playForecast();
  drawForecast();
}

function turnForecast(by) {
  const picture = here.snapshot?.picture;
  if (picture) look(((picture.sample ?? 0) + by + picture.samples) % picture.samples, 1);
}

function drawForecast() {
  if (!forecast || here.name !== "digits") return;
  const { picture } = forecast, size = picture.canvas, whole = [0, 0, size];
  const rows = $(".forecast-rows");
  if (!rows.children.length) {
    for (const name of ROWS) rows.append(make("h3", { class: name }), make("div", { class: "row-frames", role: "list" }));
  }
  ROWS.forEach((name, n) => {
    setText(rows.children[2 * n], text(`row ${name}`));
    const list = rows.children[2 * n + 1], shown = forecast[name] ?? forecast.prediction;
    if (list.children.length !== shown.length) {
      list.replaceChildren(...shown.map(() => make("figure", { role: "listitem" }, make("canvas", { role: "img" }))));
    }
    shown.forEach((frame, i) => {
      const canvas = $("canvas", list.children[i]);
      paint(canvas, frame, size, whole, THUMBNAIL, name === "error" ? forecast.truth[i] : undefined);
      const when = name === "input" ? (i + 1 === shown.length ? "t" : `t − ${shown.length - 1 - i}`) : `t + ${i + 1}`;
      canvas.setAttribute("aria-label", `${text(`row ${name}`)}, ${when}${name === "prediction" ? `, SSIM ${picture.scores[i].ssim.toFixed(3)}` : ""}`);
    });
  });
  const mean = (list, what) => list.reduce((sum, s) => sum + s[what], 0) / list.length;
  for (const [name, digits] of [["ssim", 3], ["mse", 1]]) {
    const scores = [picture.scores, picture.copyLast, picture.black].map((list) => mean(list, name));
    setText($(`[data-forecast=${name}]`), scores[0].toFixed(digits));
    showBaselines($(`[data-forecast-note=${name}]`), name, scores, digits);
  }
  setText($(".forecast-name"), picture.sample === null ? text("your digit") : text("sample", { n: picture.sample + 1, of: picture.samples }));
  drawPlayed();
  drawLeadTimes($("svg.forecast-lead"), picture);
}

function showBaselines(note, name, [own, copy, black], digits) {
  const good = name === "ssim" ? own > Math.max(copy, black) : own < Math.min(copy, black);
  const lines = [text("forecast copy", { value: copy.toFixed(digits) }), text("forecast black", { value: black.toFixed(digits) })];
  if (note.innerText !== lines.join("\n")) note.replaceChildren(lines[0], make("br"), lines[1]);
  note.classList.toggle("good", good);
}

// The scores on the validation set, and what the model has seen.
function showValidation(snapshot) {
  const { scores } = snapshot;
  for (const [name, digits] of [["ssim", 3], ["mse", 1]]) {
    const note = $(`[data-validation-note=${name}]`);
    setText($(`[data-validation=${name}]`), scores ? scores.model[name].toFixed(digits) : "–");
    if (!scores) {
      note.classList.remove("good");
      setText(note, text(snapshot.shipped ? "press train" : "no validation"));
      continue;
    }
    showBaselines(note, name, [scores.model, scores.copyLast, scores.black].map((s) => s[name]), digits);
  }
  const counts = { parameters: snapshot.parameters.toLocaleString(language), sequences: snapshot.sequences.toLocaleString(language) };
  setText($(".forecast-about"), text("forecast about", counts));
}

// Truth, prediction and error side by side, moving: the frames seen, then those to come.
function drawPlayed() {
  if (!forecast) return;
  const { input, truth, prediction, picture } = forecast, lead = playedFrame - input.length;
  const real = lead < 0 ? input[playedFrame] : truth[lead], guess = lead < 0 ? real : prediction[lead];
  const whole = [0, 0, picture.canvas];
  paint($(".played.truth canvas"), real, picture.canvas, whole, PLAYED);
  paint($(".played.prediction canvas"), guess, picture.canvas, whole, PLAYED);
  paint($(".played.error canvas"), guess, picture.canvas, whole, PLAYED, real);
  const when = lead < 0 ? (lead === -1 ? "t" : `t − ${-1 - lead}`) : `t + ${lead + 1}`;
  setText($(".played-when"), lead < 0 ? `${when}, ${text("seen")}` : when);
  setText($(".played-ssim"), lead < 0 ? "" : `SSIM ${picture.scores[lead].ssim.toFixed(3)}`);
  $$(".row-frames").forEach((list, n) => [...list.children].forEach((figure, i) => figure.classList.toggle("now", n ? i === lead : i === playedFrame)));
}

function playForecast() {
  const button = $("[data-do=play]");
  played = true;
  if (playing) {
    clearInterval(playing);
    playing = 0;
  } else {
    playing = setInterval(() => {
      if (!forecast || here.name !== "digits") return;
      playedFrame = (playedFrame + 1) % (forecast.input.length + forecast.truth.length);
      drawPlayed();
    }, 200);
  }
  button.setAttribute("aria-pressed", String(Boolean(playing)));
  setText($(".glyph", button), playing ? "❚❚" : "▶");
}

// The pad: strokes on black, sent as grey values.
function preparePad() {
  const pad = $(".pad"), ink = pad.getContext("2d", { willReadFrequently: true });
  let last = null;
  const place = (event) => {
    const box = pad.getBoundingClientRect();
    return [((event.clientX - box.left) * pad.width) / box.width, ((event.clientY - box.top) * pad.height) / box.height];
  };
  const stroke = (to) => {
    ink.strokeStyle = "#fff";
    ink.lineWidth = 18;
    ink.lineCap = ink.lineJoin = "round";
    ink.beginPath();
    ink.moveTo(...last);
    ink.lineTo(to[0] + 0.01, to[1]);
    ink.stroke();
    last = to;
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    last = place(event);
    stroke(last);
    event.preventDefault();
  });
  pad.addEventListener("pointermove", (event) => last && stroke(place(event)));
  for (const name of ["pointerup", "pointercancel"]) pad.addEventListener(name, () => { last = null; });
  clearPad();
}

function clearPad() {
  const pad = $(".pad"), ink = pad.getContext("2d");
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, pad.width, pad.height);
}

async function sendDrawing() {
  const small = make("canvas");
  small.width = small.height = PAD;
  const ink = small.getContext("2d");
  ink.drawImage($(".pad"), 0, 0, PAD, PAD);
  const rgba = ink.getImageData(0, 0, PAD, PAD).data;
  const drawing = Array.from({ length: PAD * PAD }, (_, i) => rgba[4 * i]);
  if (Math.max(...drawing) < 64) return showNotice({ key: "draw first" });
  playedFrame = 0;
  const scene = here;
  await scene.attached;
  const reply = await ask("draw", { run: scene.run, drawing, angle: Number($("[data-do=angle]").value) });
  if (reply.notice?.key === "lost") return attach(scene, null);
  showNotice(reply.notice ?? null, scene);
}

function showAngle() {
  const dial = $("[data-do=angle]"), angle = Number(dial.value);
  dial.style.setProperty("--fill", `${angle / 3.6}%`);
  setText($("output", dial.closest("label")), `${"→↘↓↙←↖↑↗"[Math.round(angle / 45) % 8]} ${angle}°`);
}
