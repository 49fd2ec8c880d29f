// Talks to the service, and turns its problem documents into errors.

export class ProblemError extends Error {}

const RETRIES = 5;

export async function ask(path, options = {}, retries = RETRIES) {
  for (let attempt = 0; ; attempt += 1) {
    let response;
    try {
      response = await fetch(path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ProblemError("The service does not answer. Is dermseg still running?");
    }
    if (response.ok) return response;
    const wait = Number(response.headers.get("Retry-After"));
    if (response.status === 429 && wait && attempt < retries) {
      await new Promise((done) => setTimeout(done, wait * 1000));
      continue;
    }
    const problem = await response.json().catch(() => null);
    const status = `${response.status} ${response.statusText}`.trim();
    throw new ProblemError(problem?.detail || `The service answers ${status}. Try again, or reload the page.`);
  }
}

// photo: {blob, mask, at, model, style, thresholds}; without thresholds the style's own are used. `change` is
// {edit, by}, for a mask that is changed as a whole. Always the server makes what is shown and
// downloaded.
export async function segment(
  photo,
  { accept = "application/json", include = [], change = {}, signal } = {},
) {
  const query = new URLSearchParams({ style: photo.style, ...photo.thresholds, ...change, model: photo.model });
  for (const name of include) query.append("include", name);
  if (photo.at) {
    query.set("x", photo.at[0]);
    query.set("y", photo.at[1]);
  }
  const body = new FormData();
  body.append("photograph", photo.blob, "photograph");
  if (photo.mask) body.append("mask", await photo.mask, "mask.png");
  const headers = { Accept: accept };
  return ask(`v1/segment?${query}`, { method: "POST", body, headers, signal });
}

// A ruler that may lie in a photograph: {start, end, millimetres, pixels_per_mm}, or null.
export async function rulerIn(photograph) {
  const headers = { "Content-Type": "application/octet-stream" };
  return (await (await ask("v1/ruler", { method: "POST", body: photograph, headers })).json()).ruler;
}

// The outlines of a mask drawn by hand, changed as a whole if `change` says {edit, by}; then the
// changed mask comes too.
export async function drawn(mask, { change = {}, signal } = {}) {
  const query = new URLSearchParams(change);
  if (change.edit) query.append("include", "mask");
  const headers = { "Content-Type": "image/png" };
  return (await ask(`v1/mask?${query}`, { method: "POST", body: mask, headers, signal })).json();
}

export function fromBase64(text, type) {
  return new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], { type });
}
