// Questions to the server. Each comes back with an object; a dead line, as a notice.
let gradio = null;

export function useServer(given) {
  gradio = given;
}

export async function ask(name, payload) {
  const offline = { notice: { key: "offline" } };
  try {
    return (await gradio.server[name](payload)) ?? offline; // Gradio's client answers a dead line with nothing
  } catch {
    return offline;
  }
}

// Under a name of its own: Gradio calls a file after its content, so that two people's would be one.
export const send = (file) => gradio.upload(new File([file], Math.random().toString(36).slice(2)));
export const borrow = (run, anew) => gradio.trigger("borrow", { run, anew });
export const follow = (run) => gradio.trigger("follow", { run });
