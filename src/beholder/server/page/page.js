// The page: takes pictures in, has them answered one by one, shows what was said. Nothing leaves for anywhere but its server.
import { isolated } from "./bidi.js";
import { from, unmark } from "./boxes.js";
import { photographs } from "./camera.js";
import { listed, make, reason, show, tile, told } from "./look.js";
import { Queue } from "./queue.js";
import { Trouble, explain, models, nearest, predict, useKey } from "./server.js";
import { current, say, speak } from "./strings.js";
import { table } from "./table.js";

const $ = id => document.getElementById(id);
const MOST = 500, NAMED = 6;
const state = { models: [], now: null, all: false, note: "" };
const tiles = new Map();
const queue = new Queue(changed, held);

const model = () => state.models.find(one => one.name === queue.model);
function hear(text) { $("live").textContent = text; }

// --- what is shown ---

function changed(item) {
  if (item && tiles.has(item)) tile(item, tiles.get(item), item === state.now, model());
  if (item === state.now && item) {
    look();
    if (item.state === "done" || item.state === "failed") hear(told(item, model()));
  }
  if (!item) all();
  count();
}

function all() {
  const { items } = queue;
  if (!items.includes(state.now)) state.now = items[0] ?? null;
  for (const [item, element] of tiles) if (!items.includes(item)) { element.remove(); tiles.delete(item); }
  for (const item of items) {
    if (!tiles.has(item)) {
      const element = make("div", { id: `tile-${++serial}`, role: "option" });
      element.addEventListener("click", () => choose(item));
      tiles.set(item, element);
      $("list").append(element);
      tile(item, element, item === state.now, model());
    }
  }
  $("bench").hidden = !items.length;
  $("bench").classList.toggle("one", items.length === 1);
  document.body.classList.toggle("busy", items.length > 0);
  if (state.now) choose(state.now, false);
}
let serial = 0;

function count() {
  const { items } = queue, n = items.length, left = queue.open_, failed = items.filter(item => item.state === "failed").length;
  $("progress").hidden = n < 2;
  $("bar").max = Math.max(1, n);
  $("bar").value = n - left;
  const words = say("told", { n, done: items.filter(item => item.state === "done").length }) + (failed ? say("told_failed", { failed }) : "");
  if ($("told").textContent !== words) {
    $("told").textContent = words;
    if (n > 1 && !left) hear(`${words} – ${told(state.now, model())}`);
  }
  $("bar").hidden = !left;
  $("stop").hidden = !left;
}

function choose(item, scroll = true) {
  const before = state.now;
  if (item !== before) { state.all = false; unmark(); }
  state.now = item;
  for (const one of [before, item]) if (one && tiles.has(one)) tile(one, tiles.get(one), one === item, model());
  $("list").setAttribute("aria-activedescendant", tiles.get(item)?.id ?? "");
  if (scroll) tiles.get(item)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  look();
}

function look() {
  const { now } = state;
  if (!now) return;
  show(now, { at: queue.items.indexOf(now), n: queue.items.length, multi: model()?.several, all: state.all, explains: model()?.explains !== false, model: model(), again: look });
  if (model()?.likes && now.state === "done" && !now.answer.like) near(now, now.answer);
}

// Ask for the nearest training pictures of a picture that is looked at, once.
async function near(item, answer) {
  answer.like = [];
  try { answer.like = await nearest(item.file, queue.model); } catch { return; }
  if (item === state.now) look();
}

// --- trouble ---

function held(trouble, seconds) {
  $("door").hidden = trouble?.code !== "key";
  $("trouble").hidden = !trouble && !state.note;
  $("again").hidden = !trouble || trouble.code === "key";
  state.held = trouble && { trouble, seconds };
  if (trouble?.code === "key") {
    $("trouble").hidden = !$("key").dataset.tried;
    $("trouble-words").textContent = say("wrong_key");
    $("key").focus();
  } else if (trouble) $("trouble-words").textContent = ["gone", "busy"].includes(trouble.code) ? say(trouble.code, { seconds }) : reason(trouble);
}

function note(text) {
  state.note = text;
  $("trouble").hidden = !text && !state.held;
  if (text) { $("trouble-words").textContent = text; $("again").hidden = true; }
}

// --- in ---

function take(files) {
  note("");
  if (!files.length) return note(say("nothing_new"));
  const room = MOST - queue.items.length;
  const made = queue.add(files.slice(0, room));
  if (made.length < files.length) note(say("too_many", { most: made.length, n: files.length }));
  if (made.length) { choose(made[0]); if (made.length > 1 || queue.items.length > 1) $("list").focus(); }
}

const later = (entry, method) => new Promise((give, fail) => entry[method](give, fail));

// Every file below what was dropped, folders included.
async function dropped(transfer) {
  const files = [], entries = [...transfer.items].filter(item => item.kind === "file").map(item => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const walk = async entry => {
    if (entry instanceof File) files.push(entry);
    else if (entry?.isFile) { if (!entry.name.startsWith(".")) files.push(await later(entry, "file")); }
    else if (entry?.isDirectory) {
      const reader = entry.createReader();
      for (let some = await later(reader, "readEntries"); some.length; some = await later(reader, "readEntries")) for (const one of some) await walk(one);
    }
  };
  for (const entry of entries) await walk(entry);
  return files;
}

const holdsFiles = event => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", event => { if (holdsFiles(event)) { event.preventDefault(); event.dataTransfer.dropEffect = "copy"; $("veil").hidden = false; } });
document.addEventListener("dragleave", event => { if (!event.relatedTarget) $("veil").hidden = true; });
document.addEventListener("drop", async event => {
  $("veil").hidden = true;
  if (!holdsFiles(event)) return;
  event.preventDefault();
  take(await dropped(event.dataTransfer).catch(() => []));
});
document.addEventListener("paste", event => {
  const files = [...event.clipboardData.files];
  if (files.length) { event.preventDefault(); take(files); }
});
$("choose").addEventListener("click", () => $("files").click());
for (const id of ["files", "shutter"]) $(id).addEventListener("change", () => { const files = [...$(id).files]; $(id).value = ""; if (files.length) take(files); });
photographs(take, () => model()?.task === "detect" ? { model: model(), ask: blob => predict(blob, queue.model, AbortSignal.timeout(15_000)) } : null);

// --- keys and buttons ---

const STEP = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -MOST, End: MOST };
$("list").addEventListener("keydown", event => {
  const { items } = queue, at = items.indexOf(state.now);
  if (event.ctrlKey || event.metaKey || event.altKey || at < 0) return;
  if (event.key in STEP) choose(items[Math.max(0, Math.min(items.length - 1, at + STEP[event.key]))]);
  else if (event.key === "Delete" || event.key === "Backspace") { state.now = items[at + 1] ?? items[at - 1]; queue.remove(items[at]); }
  else if (event.key === "h" || event.key === "H") { if (!$("heat").hidden && !$("heat").disabled) heat(); }
  else return;
  event.preventDefault();
  if (state.now) hear(told(state.now, model()));
});

async function heat() {
  const item = state.now;
  if (item.heat?.url) item.heat.shown = !item.heat.shown;
  else {
    const { probabilities } = item.answer, label = Object.keys(probabilities).reduce((a, b) => probabilities[b] > probabilities[a] ? b : a);
    const asked = item.heat = { state: "asking", label };
    look();
    try {
      const found = await explain(item.file, queue.model, label);
      Object.assign(asked, found, { url: URL.createObjectURL(found.png), shown: true });
    } catch (error) { asked.trouble = error instanceof Trouble ? error : new Trouble("odd", String(error)); }
    asked.state = "";
    if (item.heat !== asked && asked.url) URL.revokeObjectURL(asked.url);
  }
  if (item === state.now) { look(); if (!$("remark").hidden) hear($("remark").textContent); }
}
$("heat").addEventListener("click", heat);
function least(p) {
  from(p);
  for (const [item, element] of tiles) tile(item, element, item === state.now, model());
  look();
}
$("least").addEventListener("input", () => least(Number($("least").value) / 100));
$("own").addEventListener("click", () => { least(null); $("least").focus(); });
addEventListener("resize", () => { if (state.now?.answer?.boxes) look(); });
$("more").addEventListener("click", () => { state.all = !state.all; look(); });
$("retry").addEventListener("click", () => queue.repeat([state.now]));
$("again").addEventListener("click", () => { queue.found(); if (state.models.length) queue.open(); else begin(); });
$("stop").addEventListener("click", () => queue.stop());
$("clear").addEventListener("click", () => { for (const item of [...queue.items]) queue.remove(item); note(""); $("choose").focus(); });
$("save").addEventListener("click", () => {
  const url = URL.createObjectURL(table(queue.items, model(), reason));
  make("a", { href: url, download: `${queue.model}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
});
$("door").addEventListener("submit", event => {
  event.preventDefault();
  useKey($("key").value);
  $("key").dataset.tried = "yes";
  if (state.models.length) queue.open(); else begin();
});
$("models").addEventListener("change", () => { queue.model = $("models").value; from(null); about(); queue.repeat(queue.items); });

// --- language, and the beginning ---

function about() {
  const { classes = [], several, task } = model() ?? {}, n = classes.length;
  $("model").textContent = isolated(queue.model ?? "…");
  document.title = queue.model ? `${isolated(queue.model)} – Beholder` : "Beholder";
  const some = listed(classes.slice(0, NAMED)) + (n > NAMED ? say("others", { n: n - NAMED }) : "");
  $("knows").textContent = n ? say(task === "detect" ? "knows_boxes" : several ? "knows_multi" : "knows", { n, names: some }) : "";
}

function words() {
  document.documentElement.lang = current() === "zh" ? "zh-Hans" : "en";
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-name]")) element.setAttribute("aria-label", say(element.dataset.name));
  Object.assign($("language"), { textContent: say("other"), lang: current() === "zh" ? "en" : "zh-Hans" });
  for (const [item, element] of tiles) tile(item, element, item === state.now, model());
  if (state.held) held(state.held.trouble, state.held.seconds);
  about();
  count();
  look();
}

const kept = { get: () => { try { return localStorage.getItem("language"); } catch { return null; } }, set: value => { try { localStorage.setItem("language", value); } catch { /* not kept, then */ } } };
$("language").addEventListener("click", () => { speak(current() === "zh" ? "en" : "zh"); kept.set(current()); words(); });

async function begin() {
  try {
    state.models = await models();
    queue.model = state.models[0].name;
    $("models").replaceChildren(...state.models.map(one => make("option", { value: one.name, textContent: isolated(one.name) })));
    $("models").hidden = state.models.length < 2;
    about();
    queue.found();
    queue.open();
  } catch (error) {
    if (error.code === "key") queue.close(error);
    else queue.lost(error, begin);
  }
}

setInterval(() => { if (state.now?.state === "asking") look(); }, 1000);
speak(new URLSearchParams(location.search).get("lang") ?? kept.get() ?? navigator.language);
words();
begin();
