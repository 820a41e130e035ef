// The labelling page: what the keys and buttons do. The server holds the truth; this shows it and asks for changes.
import { $, asker, make, naming, number, picture, safe, say, trouble } from "./dom.js";
import { Picks } from "./picks.js";

const KEYS = [..."1234567890abcdefghijklmopqrtvwy"]; // not n, s, u, x, z, which do something else
const ask = asker("The program has ended. Start it again with the same --out: every action that was taken is kept.", "Labelling was started again: open its new address.");
const state = { summary: null, turn: -1, grid: { asked: -1, sample: false, pictures: [] }, progress: null, busy: false, ended: false };
const name = k => state.summary.classes[k];
const plural = (n, what) => `${number(n)} ${what}${n === 1 ? "" : "s"}`;

const picks = new Picks($("grid"), { changed, opened: large });

// --- what is shown ---

function changed() {
  const marked = picks.those(true).length, of = picks.rows.length, rest = of - marked, { asked } = state.grid;
  const key = matchMedia("(hover: none)").matches ? "tap their class" : "press the key of their class";
  $("brief").textContent = safe(!of ? "" : marked
    ? `${number(marked)} of ${number(of)} marked: ${key}${asked >= 0 ? ", or confirm the others" : ""}.`
    : asked >= 0 ? `Mark what is not ${name(asked)}, class by class; then confirm the rest.` : `Mark those of one class and ${key}. Without marks, a class is for all ${number(of)}.`);
  $("confirm").firstChild.textContent = safe(asked < 0 ? "Confirm " : `${marked ? `The other ${number(rest)}` : of === 1 ? "This" : `All ${number(of)}`} ${rest === 1 ? "is" : "are"} ${name(asked)} `);
  $("confirm").disabled = !rest || asked < 0; $("reject").disabled = asked < 0;
  $("all").disabled = !rest; $("clear").disabled = !marked;
}

function asking() {
  const { asked, sample } = state.grid, p = state.progress;
  $("asked").textContent = safe(asked >= 0 ? `Is this ${name(asked)}?` : "What do these show?");
  if (sample) $("asked").append(make("span", { className: "badge", textContent: `random sample, ${number(p.sampled)} of ${number(p.sample)} done`, title: "Labelled first, and never learnt from: it tells how good presorting is" }));
  for (const button of $("classes").children) button.classList.toggle("asked", Number(button.dataset.label) === asked);
}

function progress() {
  const p = state.progress, e = p.estimate, share = x => (100 * x).toFixed(0);
  const skipped = p.skipped.length, pictures = state.summary.pictures;
  $("count").textContent = number(p.labelled); $("of").textContent = `of ${number(pictures)}`;
  const others = [[p.presorted, "presorted"], [p.unusable, "unusable"], [skipped, "for later"]].filter(([n]) => n);
  $("others").textContent = others.map(([n, what]) => ` · ${number(n)} ${what}`).join("");
  $("bar").max = Math.max(1, pictures); $("bar").value = p.labelled + p.presorted + p.unusable;
  $("bar").setAttribute("aria-valuetext", `${p.labelled} of ${pictures} labelled`);
  $("score").textContent = e ? `Presorting is right on ${share(e.value)} % [${share(e.low)}, ${share(e.high)}]` : "How good is presorting?";
  $("why").textContent = e ? `95 % interval, ${plural(e.n, "picture")} drawn at random${e.skipped ? `, ${number(e.skipped)} for later count as wrong` : ""}`
    : !p.sample ? "too few pictures to tell" : p.sampled < p.sample ? `known when the random sample is labelled: ${number(p.sample - p.sampled)} to go` : "known when there are some labels to learn from";
  $("estimate").title = "How often the head gives the class that you gave, on pictures drawn at random before anything was chosen, which it never learns from";
  $("undo").disabled = !p.undo; $("presort").disabled = !e;
  for (const button of $("classes").children) button.lastChild.textContent = number(p.counts[button.dataset.label]);
}

function take(found) {
  Object.assign(state, { turn: found.turn, grid: found.grid, progress: found.progress });
  const none = !found.grid.pictures.length, skipped = found.progress.skipped.length;
  $("grid").hidden = none; $("empty").hidden = !none;
  $("empty-title").textContent = skipped ? "All others are labelled" : "Everything is labelled";
  $("empty-words").textContent = skipped ? `${plural(skipped, "picture")} left for later.` : "Finish ends the program; Undo goes back.";
  $("again").hidden = !skipped; $("again").textContent = "Show them again";
  document.querySelector(".about").hidden = none;
  picks.show(found.grid.pictures);
  asking(); progress(); changed();
  document.body.dataset.turn = found.turn;
  if (found.unwritten) trouble({ message: found.unwritten });
}

function large(row) {
  $("shot").replaceChildren(picture(row.picture, "large", row.key));
  $("large-name").textContent = safe(row.key);
  if (!$("large").open) $("large").showModal();
}

// --- actions: one at a time; a key that is pressed before the next grid is there would answer what nobody has seen ---

async function act(work) {
  if (state.busy || state.ended) return;
  state.busy = true; $("grid").setAttribute("aria-busy", "true");
  try { await work(); } catch (error) { trouble(error); } finally { state.busy = false; $("grid").removeAttribute("aria-busy"); }
}

const told = () => state.grid.pictures.length ? `Next: ${plural(state.grid.pictures.length, "picture")}, ${state.grid.asked >= 0 ? `is this ${name(state.grid.asked)}?` : "what do they show?"}` : "Everything is labelled.";

const send = (path, body, spoken) => act(async () => {
  take(await ask(path, { turn: state.turn, size: picks.room().count, ...body }));
  say(`${spoken}. ${told()}`);
});

// What keys and buttons are about: the marked pictures, or all where none is marked.
const those = () => { const marked = picks.those(true); return marked.length ? marked : picks.those(false); };
const about = (path, spoken, body = {}) => { const pictures = those(); if (pictures.length) send(path, { pictures, ...body }, `${plural(pictures.length, "picture")} ${spoken}`); };
const label = k => about("label", `labelled ${name(k)}`, { label: k });

const acts = {
  confirm: () => { // the marked are not of that class, and come back as something else
    const pictures = picks.those(false), { asked } = state.grid;
    if (pictures.length && asked >= 0) send("label", { pictures, left: picks.those(true), label: asked }, `${plural(pictures.length, "picture")} labelled ${name(asked)}`);
  },
  reject: () => { if (state.grid.asked >= 0) about("reject", `not ${name(state.grid.asked)}`); },
  skip: () => about("skip", "left for later"),
  unusable: () => about("unusable", "unusable"),
  undo: () => { if (state.progress.undo) send("undo", {}, "Undone"); },
  again: () => send("again", { pictures: [] }, "Shown again"),
  all: () => picks.every(true),
  clear: () => picks.every(false),
  help: () => $("keys").showModal(),
  finish: () => act(async () => {
    await ask("finish", {});
    state.ended = true;
    const p = state.progress;
    $("done-words").textContent = `${number(p.labelled)} of ${number(state.summary.pictures)} pictures are labelled${p.presorted ? `, ${number(p.presorted)} presorted` : ""}. Next:`;
    $("following").textContent = state.summary.following;
    $("done").addEventListener("cancel", event => event.preventDefault());
    $("done").showModal();
  }),
  presort: () => { offer(); $("sure").showModal(); },
};
for (const id of Object.keys(acts)) $(id).addEventListener("click", acts[id]);

// --- presorted labels: only as a person asks for them ---

async function offer() {
  $("take").disabled = true; $("sure-words").textContent = "…";
  try {
    const { count, estimate: e } = await ask(`presorted?least=${$("least").value}`);
    const right = e ? `Of those it is as sure of in the random sample, ${e.value.toFixed(2)} [${e.low.toFixed(2)}, ${e.high.toFixed(2)}] are right (n = ${number(e.n)}).` : "The random sample holds none that it is as sure of: how many of them are right is not known.";
    $("sure-words").textContent = count ? `${plural(count, "picture")} would get the label that the head is so sure of. ${right}` : "There is no picture that the head is so sure of.";
    $("take").disabled = !count;
  } catch (error) { $("sure").close(); trouble(error); }
}
$("least").addEventListener("change", offer);
$("sure").addEventListener("close", () => {
  if ($("sure").returnValue === "yes") send("presort", { least: Number($("least").value) }, "Presorted labels taken");
  $("sure").returnValue = "";
});

// --- keys ---

// After a click the keys are the pictures' again; who goes by the Tab key stays where they are.
document.addEventListener("click", event => { if (event.detail && !event.target.closest("dialog") && !document.querySelector("dialog[open]")) $("grid").focus({ preventScroll: true }); });

const LETTERS = { n: "reject", s: "skip", x: "unusable", u: "undo", "?": "help" };

document.addEventListener("keydown", event => {
  const held = event.ctrlKey || event.metaKey, key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (document.querySelector("dialog[open]") || event.altKey || event.repeat && !key.startsWith("Arrow")) return;
  const onButton = document.activeElement.matches("button, a, select"), onGrid = !onButton;
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: picks.columns, ArrowUp: -picks.columns, Home: -1e9, End: 1e9 };
  if (held && key === "z") acts.undo();
  else if (held && key === "a") acts.all();
  else if (held) return;
  else if (LETTERS[key]) acts[LETTERS[key]]();
  else if (key === "z") { if (picks.rows.length) large(picks.rows[picks.now]); }
  else if (KEYS.includes(key) && KEYS.indexOf(key) < state.summary.classes.length) label(KEYS.indexOf(key));
  else if (key === "Escape") acts.clear();
  else if (key === "Enter" && onGrid) acts.confirm();
  else if (key === " " && onGrid && picks.rows.length) event.shiftKey ? picks.range(picks.now) : picks.toggle(picks.now);
  else if (key in moves && onGrid && picks.rows.length) picks.go(picks.now + moves[key]);
  else return;
  event.preventDefault();
});

new ResizeObserver(() => picks.fit()).observe($("grid"));

act(async () => {
  const s = state.summary = await ask("summary");
  naming(s.classes);
  document.title = `${safe(s.source)}: Beholder label`;
  $("source").textContent = $("source").title = safe(s.source);
  $("classes").replaceChildren(...s.classes.map((text, k) => {
    const button = make("button", { type: "button", title: text }, KEYS[k] ? make("kbd", { textContent: KEYS[k].toUpperCase() }) : "", make("span", { className: "class", textContent: text }), make("span", { className: "n", textContent: "0" }));
    button.dataset.label = k;
    button.addEventListener("click", () => label(k));
    return button;
  }));
  $("class-keys").replaceChildren(make("kbd", { textContent: "1" }), "…", make("kbd", { textContent: KEYS[Math.min(KEYS.length, s.classes.length) - 1].toUpperCase() }));
  take(await ask(`grid?size=${picks.room().count}`));
  $("grid").focus();
});
