// Sprites into frames: {grey, missing, rgba}: how bright a pixel is, a 1 where a point was not measured,
// and its colours as they were drawn.
import { make } from "./dom.js";

// Unpack a PNG in base64 that holds frames of one size, one below the other.
export async function unpackSprites(sprites, width, height) {
  const image = new Image();
  image.src = `data:image/png;base64,${sprites}`;
  await image.decode();
  const context = Object.assign(make("canvas"), { width, height: image.height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const rgba = context.getImageData(0, 0, width, image.height).data;
  return Array.from({ length: image.height / height }, (_, n) => oneFrame(rgba, 4 * n * width * height, width * height));
}

function oneFrame(rgba, start, length) {
  const grey = new Uint8ClampedArray(length), missing = new Uint8Array(length);
  for (let i = 0; i < length; i += 1) {
    const at = start + 4 * i;
    grey[i] = 0.299 * rgba[at] + 0.587 * rgba[at + 1] + 0.114 * rgba[at + 2]; // which of a grey pixel is its value
    missing[i] = rgba[at + 3] < 128 ? 1 : 0;
  }
  return { grey, missing, rgba: rgba.subarray(start, start + 4 * length) };
}

// A picture's frames: those seen, the true ones that follow, and the prediction of them.
export async function unpackPicture(picture) {
  const { context, horizon } = picture, all = await unpackSprites(picture.sprites, picture.width, picture.height);
  return { picture, seen: all.slice(0, context), truth: all.slice(context, context + horizon), prediction: all.slice(context + horizon) };
}

// The frames of a moment, `lead` frames after the last one seen; what was seen is not predicted.
export function framesAt({ seen, truth, prediction }, lead) {
  return lead > 0 ? { truth: truth[lead - 1], prediction: prediction[lead - 1] } : { truth: seen.at(lead - 1), prediction: null };
}
