// Frames on canvases at their native size, enlarged by whole multiples in CSS.
const THUMBNAIL = 64, VIEW = 192, CLOSE_UP = 24; // px on the screen, px on the screen, px of the frame
let frames = null; // {picture, context, truth, predicted}: arrays of Uint8ClampedArray, one grey value a pixel
let closeUp = false;
let moment = null; // while animating: the frame shown, from -8 (the first seen) to the look ahead
let animation = 0;

// Unpack a PNG in base64 that holds square frames, one below the other.
async function greyFrames(sprites, size) {
  const image = new Image();
  image.src = `data:image/png;base64,${sprites}`;
  await image.decode();
  const canvas = make("canvas");
  canvas.width = size;
  canvas.height = image.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const rgba = context.getImageData(0, 0, size, image.height).data;
  const all = [];
  for (let n = 0; n < image.height / size; n += 1) {
    const grey = new Uint8ClampedArray(size * size);
    for (let i = 0; i < grey.length; i += 1) grey[i] = rgba[4 * (n * size * size + i)];
    all.push(grey);
  }
  return all;
}

// The frames of a scene's newest picture; null where they are known, or a newer one has come.
const newest = {}; // sprites, by scene
async function unpack(scene, picture) {
  if (!picture || newest[scene] === picture.sprites) return null;
  newest[scene] = picture.sprites;
  const all = await greyFrames(picture.sprites, picture.canvas);
  return newest[scene] === picture.sprites ? all : null;
}

async function showPicture(picture) {
  const all = await unpack("squares", picture);
  if (!all) return;
  const seen = picture.context, ahead = picture.lookAhead;
  frames = {
    picture,
    context: all.slice(0, seen),
    truth: all.slice(seen, seen + ahead),
    predicted: all.slice(seen + ahead),
  };
  drawStage();
}

function drawStage() {
  if (!frames || here.name !== "squares") return;
  const { picture } = frames;
  drawStrip();
  const lead = moment ?? picture.lookAhead;
  const views = [$(".view.truth"), $(".view.prediction"), $(".view.error")];
  const truth = lead > 0 ? frames.truth[lead - 1] : frames.context.at(lead - 1);
  const predicted = lead > 0 ? frames.predicted[lead - 1] : truth;
  const window = closeUp ? closeUpWindow(lead > 0 ? frames.truth[lead - 1] : truth, picture.canvas) : [0, 0, picture.canvas];
  paint($("canvas", views[0]), truth, picture.canvas, window, VIEW);
  paint($("canvas", views[1]), predicted, picture.canvas, window, VIEW);
  paint($("canvas", views[2]), predicted, picture.canvas, window, VIEW, truth);
  const when = lead > 0 ? `t + ${lead}` : lead === 0 ? "t" : `t − ${-lead}`;
  setText($(".when"), lead > 0 ? when : `${when}, ${text("seen")}`);
  const score = lead > 0 ? picture.scores[lead - 1] : null;
  setText($(".frame-ssim"), score ? `SSIM ${score.ssim.toFixed(3)}` : "");
  setText($(".frame-mse"), score ? `MSE ${small(score.mse)}` : "");
  $(".frame-ssim").title = score ? text("frame baselines", { copy: picture.copyLast[lead - 1].ssim.toFixed(3), black: picture.black[lead - 1].ssim.toFixed(3) }) : "";
  $("canvas", views[0]).setAttribute("aria-label", `${text("truth")}, ${when}`);
  $("canvas", views[1]).setAttribute("aria-label", `${text("prediction")}, ${when}${score ? `, SSIM ${score.ssim.toFixed(3)}` : ""}`);
  $("canvas", views[2]).setAttribute("aria-label", `${text("error")}, ${when}${score ? `, MSE ${small(score.mse)}` : ""}`);
  setText($(".sample-name"), text("sample", { n: picture.sample + 1, of: picture.samples }));
  setText($(".stage-subtitle"), text("stage subtitle", { n: picture.context }));
  const look = $("[data-do=look]");
  if (document.activeElement !== look) look.value = picture.lookAhead;
  showLookAhead(Number(look.value));
  drawLeadTimes($("svg.lead"), picture);
}

function drawStrip() {
  const strip = $(".strip");
  const { picture, context } = frames;
  if (strip.children.length !== context.length) {
    strip.replaceChildren(...context.map(() => make("figure", { role: "listitem" }, make("canvas"), make("figcaption"))));
  }
  context.forEach((frame, i) => {
    const figure = strip.children[i], back = context.length - 1 - i;
    setText($("figcaption", figure), back ? `t − ${back}` : "t");
    figure.classList.toggle("now", moment !== null && -back === moment);
    paint($("canvas", figure), frame, picture.canvas, [0, 0, picture.canvas], THUMBNAIL);
  });
}

function showLookAhead(value) {
  const look = $("[data-do=look]");
  look.style.setProperty("--fill", `${(100 * (value - 1)) / 9}%`);
  setText($("output", look.closest("label")), text(value === 1 ? "frame" : "frames", { n: value }));
}

// A window of CLOSE_UP px around the brightest mass of a frame; the same for truth and prediction.
function closeUpWindow(frame, size) {
  const side = Math.min(CLOSE_UP, size);
  let sum = 0, sx = 0, sy = 0;
  for (let i = 0; i < frame.length; i += 1) {
    const weight = frame[i] > 127 ? 1 : 0;
    sum += weight;
    sx += weight * (i % size);
    sy += weight * Math.floor(i / size);
  }
  const corner = (s) => Math.round(Math.max(0, Math.min(size - side, (sum ? s / sum : size / 2) - side / 2)));
  return [corner(sx), corner(sy), side];
}

const UNDER = [0, 114, 178], OVER = [213, 94, 0]; // told apart also by those who see no red or no green
function paint(canvas, frame, size, [x0, y0, side], room, truth) {
  canvas.width = side;
  canvas.height = side;
  // Whole multiples of a pixel, or a whole fraction where the frame is larger than the room.
  const scale = room >= side ? Math.floor(room / side) : 1 / Math.ceil(side / room);
  canvas.style.setProperty("--px", side * scale);
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  const ground = document.body.classList.contains("dark") ? [16, 18, 22] : [246, 247, 249];
  for (let y = 0; y < side; y += 1) {
    for (let x = 0; x < side; x += 1) {
      const from = (y + y0) * size + x + x0, to = 4 * (y * side + x);
      const value = frame[from];
      if (truth) {
        const difference = value - truth[from], weight = Math.abs(difference) / 255;
        const tint = difference < 0 ? UNDER : OVER;
        for (let k = 0; k < 3; k += 1) image.data[to + k] = ground[k] + (tint[k] - ground[k]) * weight;
      } else {
        image.data[to] = image.data[to + 1] = image.data[to + 2] = value;
      }
      image.data[to + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}

function toggleAnimation() {
  const button = $("[data-do=animate]");
  if (animation) {
    clearInterval(animation);
    animation = 0;
    moment = null;
  } else if (frames) {
    moment = 1 - frames.context.length;
    animation = setInterval(() => {
      moment = moment >= frames.picture.lookAhead ? 1 - frames.context.length : moment + 1;
      drawStage();
    }, 250);
  }
  button.setAttribute("aria-pressed", String(Boolean(animation)));
  setText($(".glyph", button), animation ? "❚❚" : "▶");
  drawStage();
}
