// What the page asks of its server, and what can go wrong with it, as a Trouble with a code.

export const PATIENCE = 120;

export class Trouble extends Error {
  // code: gone | late | busy | key | odd, or what the server says; after: seconds to wait when it is busy
  constructor(code, message = "", { after = 0, status = 0 } = {}) {
    super(message);
    Object.assign(this, { code, after, status });
  }
}

let key = "";
export function useKey(given) { key = given; }

async function ask(path, body, signal) {
  const late = AbortSignal.timeout(1000 * PATIENCE);
  const headers = { Accept: "application/json, image/png", ...(key && { Authorization: `Bearer ${key}` }) };
  if (body) headers["Content-Type"] = body.type.startsWith("image/") ? body.type : "application/octet-stream";
  try {
    const answer = await fetch(path, { method: body ? "POST" : "GET", body, headers, cache: "no-store", redirect: "error", signal: signal ? AbortSignal.any([signal, late]) : late });
    const json = (answer.headers.get("Content-Type") || "").includes("json");
    return { answer, found: json ? await answer.json().catch(() => null) : await answer.blob() };
  } catch (error) {
    if (signal?.aborted) throw new Trouble("stopped");
    throw new Trouble(late.aborted ? "late" : "gone", String(error));
  }
}

async function answered(path, body, signal) {
  const { answer, found } = await ask(path, body, signal), { status } = answer;
  if (answer.ok) return { answer, found };
  const said = found?.error ?? {};
  if (said.code !== "no-answer" && (status === 503 || status === 429)) throw new Trouble("busy", said.message, { status, after: Number(answer.headers.get("Retry-After")) || 1 });
  if (status === 401) throw new Trouble("key", said.message, { status });
  if (status === 413) throw new Trouble("too-large", said.message, { status });
  throw new Trouble(said.code ?? "odd", said.message ?? "", { status });
}

const asked = async (...what) => (await answered(...what)).found;

const finding = new Set();

// [{name, classes, task, …}], the models that are served.
export async function models() {
  const found = await asked("models");
  const list = Array.isArray(found) ? found : found?.models;
  if (!Array.isArray(list) || !list.length) throw new Trouble("odd");
  for (const { name, task } of list) if (task === "detect") finding.add(name);
  return list;
}

// One picture's answer, with .model and .timing; a Trouble where the picture cannot be read. Of boxes all, however unlikely.
export async function predict(file, model, signal) {
  const found = await asked(`predict?model=${encodeURIComponent(model)}${finding.has(model) ? "&threshold=0" : ""}`, file, signal);
  const answer = found?.answers?.[0];
  if (!answer) throw new Trouble("odd");
  if (answer.error) throw new Trouble(answer.error.code, answer.error.message);
  if (Array.isArray(answer.boxes)) return { ...answer, model: found.model, timing: found.timing };
  if (typeof answer.label !== "string" || typeof answer.probabilities !== "object") throw new Trouble("odd");
  return { ...answer, model: found.model, timing: found.timing };
}

// {png, verdict, p, elsewhere, share}: where it looked for a class, and whether covering that costs more than covering other places.
export async function explain(file, model, label) {
  const { answer, found } = await answered(`explain?${new URLSearchParams({ model, class: label })}`, file);
  if (!(found instanceof Blob) || !found.type.startsWith("image/")) throw new Trouble("odd");
  const covered = (answer.headers.get("Beholder-Covered") ?? "").split(";").map(word => word.split("=")).map(([name, x]) => [name, Number(x)]);
  return { ...Object.fromEntries(covered), png: found, verdict: answer.headers.get("Beholder-Map") };
}

// The training pictures most like a picture: [{digest, labels, similarity, image}].
export async function nearest(file, model) {
  const found = await asked(`nearest?model=${encodeURIComponent(model)}`, file);
  return Array.isArray(found?.like) ? found.like : [];
}

// Whether the server answers at all.
export async function alive() {
  try { return (await ask("healthz")).answer.ok; } catch { return false; }
}
