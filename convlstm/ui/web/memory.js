// What this browser remembers. The page works where that is forbidden; it only forgets.
const PREFIX = "convlstm-playground-";

export function remember(key, value) {
  try {
    localStorage.setItem(PREFIX + key, value);
  } catch { /* forgets */ }
}

export function recall(key) {
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}
