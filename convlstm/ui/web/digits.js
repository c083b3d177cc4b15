// Moving MNIST: ten frames that the model saw, the ten that followed, and its forecast of them.
const ROWS = ["input", "truth", "prediction", "error"];
const PAD = 56; // px of a drawing that are sent
const PLAYED = 256; // px on the screen
let forecast = null; // {reply, input, truth, prediction}: arrays of Uint8ClampedArray
let forecasting = 0; // the newest request; older answers are thrown away
let playing = 0, played = false, playedFrame = 0; // played: it starts by itself only once

function openScene(name) {
  for (const tab of $$("[data-scene]")) tab.setAttribute("aria-selected", String(tab.dataset.scene === name));
  $(".columns").hidden = name !== "squares";
  $(".digits").hidden = name !== "digits";
  element.dataset.scene = name;
  if (name === "digits" && !forecast) showSample(0);
  if (name === "digits") drawForecast();
  else if (snapshot) { showSnapshot(); drawStage(); }
}

async function showForecast(request) {
  const number = (forecasting += 1);
  $(".forecast").setAttribute("aria-busy", "true");
  const reply = await request;
  if (number !== forecasting) return;
  $(".forecast").removeAttribute("aria-busy");
  if (reply.notice) return showNotice(reply.notice);
  showNotice(null);
  const all = await greyFrames(reply.sprites, reply.canvas), seen = reply.context;
  const later = (all.length - seen) / 2;
  forecast = { reply, input: all.slice(0, seen), truth: all.slice(seen, seen + later), prediction: all.slice(seen + later) };
  playedFrame = 0;
  if (!played && !matchMedia("(prefers-reduced-motion: reduce)").matches) playForecast();
  drawForecast();
}

const showSample = (sample) => showForecast(ask("forecast_sample", { sample }));

function turnForecast(by) {
  const { sample = 0, samples = 20 } = forecast?.reply ?? {};
  showSample((sample + by + samples) % samples);
}

function drawForecast() {
  if (!forecast || $(".digits").hidden) return;
  const { reply } = forecast, size = reply.canvas, whole = [0, 0, size];
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
      canvas.setAttribute("aria-label", `${text(`row ${name}`)}, ${when}${name === "prediction" ? `, SSIM ${reply.scores[i].ssim.toFixed(3)}` : ""}`);
    });
  });
  const mean = (list, what) => list.reduce((sum, s) => sum + s[what], 0) / list.length;
  const put = (name, digits) => {
    setText($(`[data-forecast=${name}]`), mean(reply.scores, name).toFixed(digits));
    const note = $(`[data-forecast-note=${name}]`);
    setText(note, text("forecast baselines", { copy: mean(reply.copyLast, name).toFixed(digits), black: mean(reply.black, name).toFixed(digits) }));
  };
  put("ssim", 3);
  put("mse", 1);
  setText($(".forecast-name"), reply.sample === undefined ? text("your digit") : text("sample", { n: reply.sample + 1, of: reply.samples }));
  setText($(".forecast-about"), text("forecast about", { parameters: reply.parameters.toLocaleString(language), sequences: (reply.sequences ?? 0).toLocaleString(language) }));
  const ssims = (list) => list.map((s) => s.ssim);
  drawLeadTimes($("svg.forecast-lead"), { scores: reply.scores, copyLast: ssims(reply.copyLast), black: ssims(reply.black), farthest: reply.scores.length });
  drawPlayed();
}

// Truth, prediction and error side by side, moving: the frames seen, then those to come.
function drawPlayed() {
  if (!forecast) return;
  const { input, truth, prediction, reply } = forecast, lead = playedFrame - input.length;
  const real = lead < 0 ? input[playedFrame] : truth[lead], guess = lead < 0 ? real : prediction[lead];
  const whole = [0, 0, reply.canvas];
  paint($(".played.truth canvas"), real, reply.canvas, whole, PLAYED);
  paint($(".played.prediction canvas"), guess, reply.canvas, whole, PLAYED);
  paint($(".played.error canvas"), guess, reply.canvas, whole, PLAYED, real);
  const when = lead < 0 ? (lead === -1 ? "t" : `t − ${-1 - lead}`) : `t + ${lead + 1}`;
  setText($(".played-when"), lead < 0 ? `${when}, ${text("seen")}` : when);
  setText($(".played-ssim"), lead < 0 ? "" : `SSIM ${reply.scores[lead].ssim.toFixed(3)}`);
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
      if (!forecast || $(".digits").hidden) return;
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

function sendDrawing() {
  const small = make("canvas");
  small.width = small.height = PAD;
  const ink = small.getContext("2d");
  ink.drawImage($(".pad"), 0, 0, PAD, PAD);
  const rgba = ink.getImageData(0, 0, PAD, PAD).data;
  const drawing = Array.from({ length: PAD * PAD }, (_, i) => rgba[4 * i]);
  if (Math.max(...drawing) < 64) return showNotice({ key: "draw first" });
  return showForecast(ask("forecast_drawing", { drawing, angle: Number($("[data-do=angle]").value) }));
}

function showAngle() {
  const dial = $("[data-do=angle]"), angle = Number(dial.value);
  dial.style.setProperty("--fill", `${angle / 3.6}%`);
  setText($("output", dial.closest("label")), `${"→↘↓↙←↖↑↗"[Math.round(angle / 45) % 8]} ${angle}°`);
}
