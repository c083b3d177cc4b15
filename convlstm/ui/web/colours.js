// From values to colours: grey, a sequential map, and the two colours of an error.

// Viridis: even to the eye, dark to bright, the same order for those who see no red or no green.
const STOPS = [[68, 1, 84], [72, 36, 117], [65, 68, 135], [53, 95, 141], [42, 120, 142], [33, 145, 140], [34, 168, 132], [68, 191, 112], [122, 209, 81], [189, 223, 38], [253, 231, 37]];
// Blue: too low; orange: too high. Further from the ground, the larger.
const ERRORS = {
  light: { ground: [246, 247, 249], under: [0, 114, 178], over: [213, 94, 0] },
  dark: { ground: [16, 18, 22], under: [86, 180, 233], over: [240, 148, 48] },
};
// The part of the whole range at which an error has its full colour: a weather map's are small beside it.
const FULL_ERROR = { grey: 1, map: 0.25 };

const between = (from, to, part) => from.map((value, k) => Math.round(value + (to[k] - value) * part));

function stopAt(part) {
  const place = part * (STOPS.length - 1), n = Math.min(STOPS.length - 2, Math.floor(place));
  return between(STOPS[n], STOPS[n + 1], place - n);
}

const TABLES = {
  grey: Array.from({ length: 256 }, (_, value) => [value, value, value]),
  map: Array.from({ length: 256 }, (_, value) => stopAt(value / 255)),
};

export const tableOf = (colours) => TABLES[colours] ?? TABLES.grey;
export const fullErrorOf = (colours) => FULL_ERROR[colours] ?? 1;
export const groundOf = (dark) => ERRORS[dark ? "dark" : "light"].ground;

// The colour of predicted less true, both 0 to 255.
export function errorColour(difference, colours, dark) {
  const { ground, under, over } = ERRORS[dark ? "dark" : "light"];
  return between(ground, difference < 0 ? under : over, Math.min(1, Math.abs(difference) / 255 / fullErrorOf(colours)));
}

// The map as a CSS gradient, for its colour bar.
export const gradient = `linear-gradient(90deg, ${STOPS.map((stop) => `rgb(${stop.join(" ")})`).join(", ")})`;
