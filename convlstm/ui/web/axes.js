// Where a value stands on a chart: {ticks, place}, place being 0 at the bottom and 1 at the top.

// "step value;step value;" as pairs.
export function points(packed) {
  return packed.split(";").filter(Boolean).map((pair) => pair.split(" ").map(Number)).filter(([, value]) => Number.isFinite(value));
}

// Whole decades, at least 0.0001 to 0.1, so that the axis rarely moves. The validation curve decides
// how low: a lucky batch, with no square at a wall, would stretch the axis for nothing.
export function logarithmicAxis(train, validation) {
  const values = (list) => list.map(([, value]) => value).filter((value) => value > 0);
  const lowest = Math.max(-7, Math.min(-4, Math.floor(Math.log10(Math.min(...values(validation), 1)))));
  const highest = Math.min(3, Math.max(-1, Math.ceil(Math.log10(Math.max(...values(train), ...values(validation), 1e-9)))));
  const ticks = Array.from({ length: highest - lowest + 1 }, (_, i) => Number((10 ** (lowest + i)).toPrecision(1)));
  return { ticks, place: (value) => (Math.log10(Math.max(value, 1e-12)) - lowest) / (highest - lowest) };
}

// From nothing to a little over the largest value that must be seen, in about four steps. Over the
// run that is the baselines' error: all that happens happens below it.
export function linearAxis(largest, lowest = 0) {
  const step = niceStep((1.05 * largest - lowest || 1) / 4);
  const length = Math.max(1, Math.ceil((1.05 * largest - lowest) / step - 1e-9));
  const ticks = Array.from({ length: length + 1 }, (_, i) => Number((lowest + step * i).toPrecision(6)));
  return { ticks, place: (value) => (value - lowest) / (step * length) };
}

// The next figure that a person would choose: 1, 2 or 5 times a power of ten.
export function niceStep(raw) {
  const power = 10 ** Math.floor(Math.log10(raw) + 1e-9);
  return power * [1, 2, 5, 10].find((figure) => figure * power >= raw * (1 - 1e-9));
}
