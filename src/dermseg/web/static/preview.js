// The outline while a slider moves. The server makes it, from the probability map that it gave before.

import { ask } from "./api.js";

let asking = false;
let waiting = null;

// Ask for the outline of a map, {map, model, style, thresholds, at, width, height}; `drawn` gets it. One
// question is in flight, and of those that wait the newest wins. One that fails is left to the
// answer that follows when the slider stands still.
export async function preview(question, drawn) {
  waiting = [question, drawn];
  if (asking) return;
  asking = true;
  while (waiting) {
    const [{ map, model, style, thresholds, at, width, height }, done] = waiting;
    waiting = null;
    const query = new URLSearchParams({ style, ...thresholds, width, height, model });
    if (at) at.forEach((value, place) => query.set("xy"[place], value));
    try {
      const headers = { "Content-Type": "image/png" };
      const options = { method: "POST", body: map, headers };
      const answer = await (await ask(`v1/outline?${query}`, options, 0)).json();
      if (!waiting) done(answer);
    } catch {
      // the outline that stands is the last one
    }
  }
  asking = false;
}

// Nothing that waits is asked for any more.
export function endPreview() {
  waiting = null;
}
