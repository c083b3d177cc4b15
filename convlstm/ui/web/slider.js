// A logarithmic slider moves evenly over the logarithm and rounds to figures a person would choose.
const LOG_STEPS = 100;

export function sliderRange({ scale, low, high, step }) {
  return scale === "log" ? { min: 0, max: LOG_STEPS, step: 1 } : { min: low, max: high, step };
}

export function fromSlider({ scale, low, high }, position) {
  if (scale !== "log") return position;
  if (position >= LOG_STEPS) return high;
  const raw = low * (high / low) ** (position / LOG_STEPS);
  const value = Number(raw.toPrecision(raw >= 20 || raw < 1 ? 2 : 1));
  return Math.max(low, low >= 1 ? Math.round(value) : value);
}

export function toSlider({ scale, low, high }, value) {
  if (scale !== "log") return value;
  return Math.round((LOG_STEPS * Math.log(value / low)) / Math.log(high / low));
}
