// The review page: what the keys and buttons do. The server holds the truth; this shows it and asks for changes.
import { $, asker, make, naming, number, picture, safe, say, trouble } from "./dom.js";
import { Board, nameOf } from "./board.js";
import { Grid } from "./grid.js";

const wide = matchMedia("(min-width: 64.01rem)");
const state = { summary: null, view: { check: "", label: "", show: "all" }, pictures: [], open: [], able: [], row: null, turn: 0, writing: 0 };
const kind = what => what.split(":", 1)[0];
const words = what => !what ? "undecided" : what === "keep" ? "kept" : what === "drop" ? "dropped" : `now ${what.slice(8)}`;
const hint = what => what.startsWith("relabel:") ? `→ ${what.slice(8)}` : what;

const ask = asker("The program has ended. Start the review again: every decision that was taken is kept.", "The review was started again: open its new address.");

// Decisions go one after another: an undo must not overtake what it undoes.
let queue = Promise.resolve();
const tell = (path, body) => (queue = queue.catch(() => {}).then(() => ask(path, body)));

// What keys and buttons ask for is done in the order in which it was asked, each on the finding that is then chosen.
let line = Promise.resolve();
const orderly = work => (...given) => (line = line.then(() => work(...given)).catch(trouble));
const safely = work => (...given) => Promise.resolve(work(...given)).catch(trouble);

// --- pictures ---

function badge(what, box) { return what ? [make("span", { className: `badge ${kind(what)}`, textContent: `${box ? "box " : ""}${words(what)}` })] : []; }

function draw(card, row) {
  const [shot, cap] = card.children;
  const state_ = `${row.picture} ${row.other ? row.other.picture : ""}`;
  if (shot.dataset.of !== state_) {
    shot.dataset.of = state_;
    shot.replaceChildren(picture(row.picture, "small", ""), ...(row.other ? [picture(row.other.picture, "small", "")] : []));
  }
  shot.querySelector(".badge")?.remove();
  shot.append(...badge(row.decided || (row.other && row.other.decided === "drop" ? "keep" : ""), row.box));
  [row, row.other].forEach((side, i) => side && shot.children[i].classList.toggle("out", side.decided === "drop" && !side.box));
  cap.replaceChildren(
    make("div", {}, make("b", { textContent: row.label || "no label" })),
    make("div", { className: "row" }, make("span", { textContent: row.check }), make("span", { textContent: row.score.toFixed(2) })),
    make("div", { className: `hint ${kind(row.suggestion)}`, textContent: hint(row.suggestion) }),
  );
  card.setAttribute("aria-label", safe(told(row)));
}

function told(row) {
  const twin = row.other ? `, beside ${row.other.label || "no label"}` : "";
  return `${row.label || "no label"}${twin}, ${row.check} ${row.score.toFixed(2)}, suggestion ${row.suggestion.replace(":", " ")}, ${words(row.decided)}`;
}

// --- the finding at the side ---

function figure(side, of) {
  const shot = make("div", { className: "shot" }, picture(side.picture, "large", `${side.key}, labelled ${side.label || "nothing"}`), ...badge(side.decided, side.box));
  if (state.summary.boxed && of !== "the other") shot.append(board.svg);
  const moved = side.decided.startsWith("relabel:") && !side.box;
  const label = moved ? [make("b", { className: "gave", textContent: side.label }), " ", make("b", { className: "relabel", textContent: side.decided.slice(8) })] : [make("b", { textContent: side.label || "no label" })];
  const about = make("span", { className: "soft" });
  ask(`about/${side.picture}`).then(found => {
    about.textContent = found.error || `${found.width} × ${found.height} · ${found.format} · ${number(Math.ceil(found.bytes / 1024))} kB${side.part ? ` · ${side.part}` : ""}`;
  }).catch(trouble);
  return make("figure", {}, shot, make("figcaption", {}, ...label, of ? make("span", { className: "soft", textContent: ` · ${of}` }) : "", make("span", { className: "file", textContent: side.key, title: side.key }), about));
}

// --- the boxes of the picture ---

const board = new Board({
  chosen: () => { pressed(); if (board.meant) say(`${board.meant.label}, ${words(board.meant.decided)}`); },
  drawn: corners => choose(name => drawn(corners, name), state.row.box ? (board.meant || {}).label : ""),
});

// Of which finding the boxes are shown: no key is about them before they are there, or it would be about the whole picture.
const boxed = row => `${row.picture} ${row.box}`;

async function boxes(row, box) {
  if (!state.summary.boxed) return;
  const found = await ask(`boxes?picture=${row.picture}`);
  if (state.row && state.row.picture === row.picture) { board.show(found, box); state.boxed = boxed(row); pressed(); }
}

function drawn(corners, name) {
  const box = nameOf(corners, name), row = state.row;
  board.cancel();
  about(row, "keep", box, `Drawn as ${name}`).then(() => row.box || boxes(row, box)).catch(trouble);
}

// A decision about one box: of the finding, after which the next is shown, or of another one of its picture.
async function about(row, what, box, spoken) {
  const at = grid.now, mine = box === row.box;
  learn(await tell("decide", { changes: [[row.picture, what, box]] }));
  grid.refresh(one => { if (one.picture === row.picture && one.box === box) one.decided = what; });
  const found = await ask(`view?${new URLSearchParams(state.view)}`);
  if (found.ids.length === grid.ids.length) state.open = [...found.open].map(Number);
  if (mine && what) { say(`${spoken}. ${onward(at)}`); if (grid.now === at) await boxes(row, box); } else { await boxes(row, row.box || box); say(spoken); }
}

// What keys and buttons are about: a box where one is chosen, else the picture.
const box = () => board.meant && state.summary.boxed ? board.box : "";
const decided = () => box() ? board.meant.decided : state.row.decided;

function pressed() {
  if (!state.row) return;
  const what = decided(), fresh = box() && board.meant.new;
  $("keep").setAttribute("aria-pressed", what === "keep");
  $("drop").setAttribute("aria-pressed", what === "drop");
  $("relabel").setAttribute("aria-pressed", what.startsWith("relabel:"));
  $("relabel").hidden = state.summary.multi && !box();
  $("keep").firstChild.textContent = !box() ? "Keep " : fresh ? "Draw it " : "Confirm box ";
  $("drop").firstChild.textContent = !box() ? "Drop " : fresh ? "No box " : "Drop box ";
}

const look = safely(async place => {
  const turn = ++state.turn, row = await grid.row(place);
  if (turn !== state.turn || !row) return;
  state.row = row;
  const shown = `${place} ${JSON.stringify(row)}`;
  if (state.shown === shown) return;
  state.shown = shown;
  $("place").textContent = `${number(place + 1)} of ${number(grid.ids.length)}`;
  $("shots").replaceChildren(figure(row, row.other ? "suspect" : ""), ...(row.other ? [figure(row.other, "the other")] : []));
  $("verdict").textContent = safe(row.verdict.charAt(0).toUpperCase() + row.verdict.slice(1));
  $("facts").textContent = safe(`${row.check} ${row.score.toFixed(2)} · suggestion: ${row.suggestion.replace(":", " as ")}`);
  board.show({ width: 0, height: 0, boxes: [] }, "");
  state.boxed = "";
  pressed();
  await boxes(row, row.box || "");
  $("swap").hidden = !row.other || !!row.box; $("draw").hidden = !state.summary.boxed;
  $("take").disabled = !able(row);
  $("take").firstChild.textContent = able(row) ? safe(`Accept: ${row.suggestion.replace(":", " as ")} `) : "Nothing to accept ";
  const ahead = grid.rows.get(grid.ids[state.open.indexOf(1, place + 1)]);
  for (const side of ahead ? [ahead, ahead.other] : []) if (side) new Image().src = `large/${side.picture}`;
});

function chosen(place) { state.row = grid.rows.get(grid.ids[place]) || null; look(place); }
function open(click) { if (grid.ids.length) { $("look").hidden = false; if (!click || !wide.matches) $("look").focus(); } }
function close() { if (!wide.matches) $("look").hidden = true; $("grid").focus(); }

// --- decisions ---

const able = row => row.suggestion !== "review" && !(!row.box && state.summary.multi && row.suggestion.startsWith("relabel:"));

function learn(progress) {
  Object.assign(state.summary, progress);
  const s = state.summary;
  $("count").textContent = number(s.decided);
  $("of").textContent = `of ${number(s.findings)}`;
  $("told").title = `Pictures: ${done(s)}`;
  $("bar").max = Math.max(1, s.findings); $("bar").value = s.decided;
  $("bar").setAttribute("aria-valuetext", `${s.decided} of ${s.findings} decided; pictures: ${done(s)}`);
  $("undo").disabled = !s.undo;
  for (const button of $("checks").querySelectorAll("button")) {
    const name = button.dataset.check;
    button.lastChild.textContent = number(name ? s.waiting[name] : Object.values(s.waiting).reduce((a, b) => a + b, 0));
    button.lastChild.setAttribute("aria-label", `, ${button.lastChild.textContent} undecided`);
  }
  $("accept").disabled = !acceptable();
}

const done = s => `${number(s.kept)} kept, ${number(s.dropped)} dropped, ${number(s.relabelled)} relabelled`;
const waiting = () => state.open.reduce((sum, flag) => sum + flag, 0);
const acceptable = () => state.open.reduce((sum, flag, place) => sum + (flag && state.able[place]), 0);

function apply(changes) {
  const asked = new Map(changes);
  grid.refresh(row => {
    for (const side of [row, row.other]) if (side && !side.box && asked.has(side.picture)) side.decided = asked.get(side.picture);
  });
  state.pictures.forEach((of, place) => { if (asked.has(of)) state.open[place] = asked.get(of) ? 0 : 1; });
}

const decide = safely(async (changes, spoken, stay) => {
  const before = changes.map(([of]) => [of, [state.row, state.row.other].find(side => side && side.picture === of).decided]);
  const at = grid.now;
  apply(changes);
  if (stay) { look(at); say(spoken); } else say(`${spoken}. ${onward(at)}`);
  try { learn(await tell("decide", { changes })); } catch (error) { apply(before); grid.go(at); throw error; }
});

function onward(at) {
  let next = state.open.indexOf(1, at + 1);
  if (next < 0) next = state.open.indexOf(1);
  if (next < 0) { look(grid.now); return "Every finding shown is decided."; }
  grid.go(next);
  const row = grid.rows.get(grid.ids[next]);
  return row ? `${next + 1} of ${grid.ids.length}: ${told(row)}` : `${next + 1} of ${grid.ids.length}`;
}

const acts = {
  keep: () => box() ? about(state.row, "keep", box(), board.meant.new ? "Drawn" : "Confirmed") : decide([[state.row.picture, "keep"]], "Kept"),
  drop: () => box() ? about(state.row, "drop", box(), board.meant.new ? "No box there" : "Box dropped") : decide([[state.row.picture, "drop"]], "Dropped"),
  swap: () => state.row.other && decide([[state.row.picture, "keep"], [state.row.other.picture, "drop"]], "Kept, the other dropped"),
  draw: () => { if (state.summary.boxed) { board.begin(); say("A new box: arrows move it, with Shift they size it, Enter draws it, Escape leaves it"); } },
  take: () => able(state.row) && state.row.box ? about(state.row, state.row.suggestion, state.row.box, "Accepted") : !able(state.row) ? say("Nothing to accept: a person has to look") : decide([[state.row.picture, state.row.suggestion]], `Accepted: ${state.row.suggestion.replace(":", " as ")}`),
  clear: () => box() ? about(state.row, "", box(), "Undecided again") : state.row.decided && decide([[state.row.picture, ""]], "Undecided again", true),
  relabel: () => {
    const row = state.row, of = box();
    if (of) choose(name => about(row, `relabel:${name}`, of, `Relabelled as ${name}`).catch(trouble), board.meant.label);
    else if (!state.summary.multi) choose(name => decide([[row.picture, `relabel:${name}`]], `Relabelled as ${name}`), row.label);
  },
  next: () => grid.go(grid.now + 1),
  back: () => grid.go(grid.now - 1),
};

const act = orderly(async name => {
  if (!grid.ids.length || document.querySelector("dialog[open]")) return;
  state.row = await grid.row(grid.now);
  if (state.summary.boxed && state.boxed !== boxed(state.row)) await boxes(state.row, state.row.box || "");
  await acts[name]();
});
const move = orderly(to => grid.go(to()));

const undo = orderly(async () => {
  const found = await tell("undo", {});
  if (!found.undone.length) return say("There is nothing to undo");
  const first = found.undone[0];
  grid.rows.clear();
  await reload(state.pictures.indexOf(first), first);
  learn(found);
  say(`Undone. ${state.row ? told(state.row) : ""}`);
});

// --- relabelling ---

let options = [], at = 0, named = () => {}, now = "";

// done(name): what is done with the class; label: that it has now
function choose(done, label) { named = done; now = label || ""; $("find").value = ""; offer(); $("labels").showModal(); $("find").focus(); }

function offer() {
  const typed = $("find").value.trim(), low = typed.toLowerCase(), row = state.row, meant = row.suggestion.startsWith("relabel:") ? row.suggestion.slice(8) : "";
  const known = state.summary.classes.filter(name => (name !== now || board.corners) && name.toLowerCase().includes(low));
  known.sort((a, b) => (b === meant) - (a === meant) || b.toLowerCase().startsWith(low) - a.toLowerCase().startsWith(low));
  options = known.slice(0, 200);
  if (typed && !state.summary.classes.includes(typed)) options.push(typed);
  at = 0;
  $("options").replaceChildren(...options.map((name, i) => {
    const note = name === meant ? "suggested" : !state.summary.classes.includes(name) ? "new class" : "";
    const item = make("li", { id: `o${i}` }, make("span", { textContent: name }), make("span", { className: "soft", textContent: note }));
    item.setAttribute("role", "option");
    item.addEventListener("click", () => label(i));
    return item;
  }));
  point(0);
}

function point(to) {
  at = Math.max(0, Math.min(to, options.length - 1));
  [...$("options").children].forEach((item, i) => item.setAttribute("aria-selected", i === at));
  if (options.length) { $("find").setAttribute("aria-activedescendant", `o${at}`); $(`o${at}`).scrollIntoView({ block: "nearest" }); } else $("find").removeAttribute("aria-activedescendant");
}

function label(i) {
  const name = options[i];
  if (name === undefined) return;
  $("labels").close();
  if (!state.summary.classes.includes(name)) { state.summary.classes.push(name); naming(state.summary.classes); }
  named(name);
}

$("labels").addEventListener("close", () => { if (board.corners) board.cancel(); });
$("find").addEventListener("input", offer);
$("labels").addEventListener("keydown", event => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") point(at + (event.key === "ArrowDown" ? 1 : -1));
  else if (event.key === "Enter" && event.target === $("find")) label(at);
  else return;
  event.preventDefault();
});
$("labels-close").addEventListener("click", () => $("labels").close());

// --- what is shown ---

const grid = new Grid($("grid"), $("floor"), { draw, load: ids => ask(`findings?ids=${ids.join(",")}`), chosen, open });

async function reload(now = 0, wanted = -1) {
  const { check, label, show } = state.view;
  const found = await ask(`view?${new URLSearchParams({ check, label, show })}`);
  state.pictures = found.pictures; state.open = [...found.open].map(Number); state.able = [...found.able].map(Number); state.row = null; state.shown = "";
  const nothing = !found.ids.length;
  const place = wanted >= 0 ? found.pictures.indexOf(wanted) : now;
  $("empty").hidden = !nothing; $("grid").hidden = nothing; $("look").hidden = nothing || (!wide.matches && $("look").hidden);
  grid.show(found.ids, Math.max(place, 0));
  if (nothing) $("empty").lastChild.textContent = !state.summary.findings ? "The audit suspects no picture." : show === "open" ? "Every finding of this choice is decided." : "No finding is of this choice.";
  else state.row = await grid.row(grid.now);
  $("accept").disabled = !acceptable();
}

const filter = orderly(async change => {
  Object.assign(state.view, change);
  for (const button of $("checks").querySelectorAll("button")) button.toggleAttribute("aria-current", button.dataset.check === state.view.check);
  const check = state.summary.checks.find(one => one.name === state.view.check);
  $("title").textContent = check ? check.name : "All checks";
  $("meaning").textContent = check ? [check.meaning, check.hint].filter(Boolean).map(t => t[0].toUpperCase() + t.slice(1)).join(". ") : "";
  await reload(0);
  const first = state.open.indexOf(1);
  if (first > 0) grid.go(first);
  if (pointed) free();
  say(`${number(grid.ids.length)} findings, ${number(waiting())} undecided`);
});

$("checks").addEventListener("click", event => { const button = event.target.closest("button"); if (button) filter({ check: button.dataset.check }); });
$("label").addEventListener("change", () => filter({ label: $("label").value }));
$("show").addEventListener("change", () => filter({ show: $("show").value }));
for (const name of ["keep", "drop", "draw", "swap", "take", "relabel", "next", "back"]) $(name).addEventListener("click", () => act(name));
$("undo").addEventListener("click", undo);
$("help").addEventListener("click", () => $("keys").showModal());
$("close").addEventListener("click", close);
wide.addEventListener("change", () => { $("look").hidden = !wide.matches || !grid.ids.length; });

$("accept").addEventListener("click", () => {
  const those = acceptable(), others = waiting() - those;
  $("sure-words").textContent = `What is suggested for ${number(those)} of the findings shown will be decided${others ? `; ${number(others)} that a person has to look at stay undecided` : ""}. One Undo takes it all back.`;
  $("sure").showModal();
});
$("sure").addEventListener("close", orderly(async () => {
  if ($("sure").returnValue !== "yes") return;
  $("sure").returnValue = "";
  const found = await tell("accept", state.view);
  grid.rows.clear();
  await reload(grid.now);
  learn(found);
  say(`Accepted for ${number(found.accepted)} pictures`);
}));

$("finish").addEventListener("click", orderly(async () => {
  const s = await tell("finish", {});
  $("done-words").textContent = `${number(s.decided)} of ${number(s.findings)} findings are decided. Pictures: ${done(s)}. What nobody decided about stays untouched. Next:`;
  $("following").textContent = state.summary.following;
  $("done").addEventListener("cancel", event => event.preventDefault());
  $("done").showModal();
}));

// --- keys ---

// After a click the keys are the findings' again; who goes by the Tab key stays where they are.
const free = () => { if (!document.querySelector("dialog[open]") && (wide.matches || $("look").hidden)) $("grid").focus({ preventScroll: true }); };
let pointed = false;
document.addEventListener("pointerdown", () => { pointed = true; }, true);
document.addEventListener("keydown", () => { pointed = false; }, true);
document.addEventListener("click", event => { if (event.detail && !event.target.closest("dialog, select, label")) free(); });

const LETTERS = { k: "keep", d: "drop", o: "swap", r: "relabel", a: "take", x: "clear", b: "draw", n: "next", p: "back", j: "next" };

document.addEventListener("keydown", event => {
  const here = document.activeElement;
  if (document.querySelector("dialog[open]") || event.altKey) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() !== "z") return;
  if (here.matches("select, input")) return; // its own keys
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: grid.columns, ArrowUp: -grid.columns, PageDown: grid.screen(), PageUp: -grid.screen() };
  if (board.corners && !board.from) {
    const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[key];
    if (way) board.nudge(...way, event.shiftKey);
    else if (key === "Enter") board.drawn(board.corners);
    else if (key === "Escape") board.cancel();
    event.preventDefault();
    return;
  }
  if (key === "]" || key === "[") { board.step(key === "]" ? 1 : -1); event.preventDefault(); return; }
  if (key === "u" || ((event.ctrlKey || event.metaKey) && key === "z")) undo();
  else if (key === "?") $("keys").showModal();
  else if (key === "Escape") close();
  else if (!grid.ids.length) return;
  else if (LETTERS[key]) act(LETTERS[key]);
  else if (moves[key] && here !== $("look")) move(() => grid.now + moves[key]);
  else if (key === "Home") move(() => 0);
  else if (key === "End") move(() => grid.ids.length - 1);
  else if ((key === "Enter" || key === " ") && (here === $("grid") || here === document.body)) open();
  else return;
  event.preventDefault();
});

safely(async () => {
  const s = state.summary = await ask("summary");
  naming(s.classes);
  document.title = `${safe(s.source)}: Beholder review`;
  $("source").textContent = safe(s.source); $("source").title = safe(s.source);
  $("checks").replaceChildren(...[{ name: "" }, ...s.checks].map(({ name }) => {
    const button = make("button", { type: "button" }, make("span", { textContent: name || "All checks" }), make("span", { className: "n" }));
    button.dataset.check = name;
    return make("li", {}, button);
  }));
  $("label").append(...s.classes.map(name => make("option", { value: name, textContent: name })));
  $("remarks").hidden = !s.remarks.length;
  $("remarks").lastElementChild.replaceChildren(...s.remarks.map(one => make("li", { textContent: `${one.check}: ${one.verdict}` })));
  await filter({});
  learn({});
  $("grid").focus();
})();
