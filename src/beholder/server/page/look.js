// How a picture and its answer look: a tile in the list, and the whole of it beside.
import { isolated } from "./bidi.js";
import * as boxes from "./boxes.js";
import { known, say, share } from "./strings.js";
import { PATIENCE } from "./server.js";

const $ = id => document.getElementById(id);
const FEW = 5, SLOW = 3;

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const percent = p => say("percent", { x: Math.round(100 * p) });
export const listed = names => names.map(isolated).join(say("comma"));
const names = answer => listed((answer.label ?? "").split(";").filter(Boolean));

// What went wrong, in words of this page where it has some, else in those of the server.
export function reason(trouble) {
  const { code, status, message } = trouble, facts = { seconds: PATIENCE, status: status || code };
  if (known(code) && code !== "odd") return say(code, facts);
  return message ? isolated(`${message.charAt(0).toUpperCase()}${message.slice(1)}${/[.!?。]$/.test(message) ? "" : "."}`) : say("odd", facts);
}

// Why the answer should not be taken at its word: ood, unsure or nothing.
export const doubt = answer => answer.ood ? "ood" : answer.abstain ? "unsure" : "";

// The answer in a few words, as a heading has it.
function brief(answer, model) {
  if (answer.boxes) return boxes.counted(boxes.told(answer, model)) || say("nothing_found");
  return names(answer) || say("none");
}

export function told(item, model) {
  if (item.state === "failed") return say("live_failed", { name: isolated(item.name), why: reason(item.why) });
  if (item.state !== "done") return say("live_failed", { name: isolated(item.name), why: say(item.state) });
  if (item.answer.boxes) return say("live_boxes", { name: isolated(item.name), found: brief(item.answer, model) });
  const kind = doubt(item.answer), label = names(item.answer) || say("none");
  return say("live", { name: isolated(item.name), label: kind ? `${say(`tell_${kind}`)} (${label})` : label, p: share(item.answer.p) });
}

function picture(url, alt) {
  const image = make("img", { alt, decoding: "async", draggable: false });
  image.addEventListener("load", () => image.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) <= 64));
  image.addEventListener("error", () => image.replaceWith(make("span", { className: "gone", textContent: say("no_preview") })));
  image.src = url;
  return image;
}

export function tile(item, element, chosen, model) {
  if (element.dataset.of !== item.url) {
    element.dataset.of = item.url;
    element.replaceChildren(make("div", { className: "shot" }, picture(item.url, "")), make("div", { className: "cap" }));
    element.querySelector("img").loading = "lazy";
  }
  const kind = item.state === "done" ? doubt(item.answer) : item.state === "failed" ? "failed" : "";
  const first = item.state === "done" ? brief(item.answer, model) : say(item.state);
  const second = item.state !== "done" ? "" : item.answer.boxes ? say("boxes_n", { n: boxes.told(item.answer, model).length }) : share(item.answer.p);
  element.className = `tile ${item.state} ${kind}${chosen ? " now" : ""}`;
  element.lastChild.replaceChildren(make("b", { textContent: first }), make("span", { textContent: kind && kind !== "failed" ? say(`tell_${kind}`) : second }));
  element.setAttribute("aria-selected", chosen);
  element.setAttribute("aria-label", told(item, model));
}

function sentences({ answer, state, why, since }, multi, model) {
  if (state === "failed") return [reason(why)];
  if (state === "asking" && performance.now() - since > 1000 * SLOW) return [say("slowly", { seconds: Math.floor((performance.now() - since) / 1000) })];
  if (!answer) return [];
  if (answer.boxes) return [say("boxes_said", { n: boxes.told(answer, model).length })];
  const said = [];
  if (answer.ood) said.push(say("ood", { share: percent(answer.ood_score ?? 1) }));
  if (answer.abstain) said.push(say("unsure", { label: names(answer) || say("none") }));
  else if (multi) said.push(answer.label ? say("holds", { names: names(answer) }) : say("holds_none"));
  else said.push(say("is", { label: names(answer), p: share(answer.p) }));
  if (answer.positive) said.push(say("positive"));
  return said;
}

function bars(answer, all) {
  const rows = Object.entries(answer?.probabilities ?? {}).sort(([, a], [, b]) => b - a);
  const holds = new Set(answer?.label?.split(";") ?? []);
  $("more").hidden = rows.length <= FEW;
  $("more").textContent = all ? say("fewer") : say("more", { n: rows.length });
  $("more").setAttribute("aria-expanded", all);
  $("bars").replaceChildren(...rows.slice(0, all ? rows.length : FEW).map(([label, p]) => {
    const fill = make("i");
    fill.style.width = `${100 * Math.max(0, Math.min(1, p))}%`;
    return make("li", { className: holds.has(label) ? "held" : "" }, make("span", { className: "label", textContent: isolated(label), title: isolated(label) }), make("span", { className: "p", textContent: share(p) }), make("span", { className: "track", ariaHidden: "true" }, fill));
  }));
}

function near(list) {
  $("near").hidden = !list?.length;
  $("near").querySelector("ul").replaceChildren(...(list ?? []).map(one => {
    const shown = one.image ? picture(one.image, "") : "";
    const name = listed(one.labels ?? []) || isolated(one.label ?? "") || one.digest.slice(0, 8);
    return make("li", { title: one.digest }, shown, make("b", { textContent: name }), make("span", { className: "soft", textContent: say("alike", { share: percent(one.similarity) }) }));
  }));
}

// The boxes over the picture and in a list, where the answer is of boxes. again(): the picture is to be shown anew.
function found({ answer }, model, again) {
  for (const old of $("shot").querySelectorAll("svg")) old.remove();
  $("boxes").hidden = !answer?.boxes;
  if (!answer?.boxes) return;
  const some = boxes.told(answer, model);
  $("shot").append(boxes.overlay(answer, some, model, $("shot")));
  boxes.list(some, model, again);
}

// What is to be said of a heat map: why there is none, or why it should not be believed.
function remarked({ trouble, shown, verdict, label, p, elsewhere, share: of }) {
  if (trouble?.code === "busy") return say("heat_busy");
  if (trouble) return `${say("no_heat")} ${["gone", "odd"].includes(trouble.code) ? "" : reason(trouble)}`.trim();
  if (!shown || verdict === "sound") return "";
  if (verdict === "empty") return say("heat_empty", { label: isolated(label) });
  return verdict === "doubtful" ? say("heat_doubtful", { share: percent(of), p: share(p), elsewhere: share(elsewhere) }) : "";
}

function shown(item, explains) {
  const { heat } = item, image = heat?.shown && heat.url;
  const wanted = image || item.url;
  if ($("shot").dataset.of !== wanted) {
    $("shot").dataset.of = wanted;
    $("shot").replaceChildren(picture(wanted, image ? say("heat_alt", { label: isolated(heat.label) }) : isolated(item.name)));
  }
  $("heat").hidden = !explains || item.state !== "done" || !Object.keys(item.answer.probabilities ?? {}).length;
  $("heat").disabled = heat?.state === "asking";
  $("heat").setAttribute("aria-pressed", Boolean(image));
  $("heat").textContent = say(heat?.state === "asking" ? "heat_wait" : image ? "heat_hide" : "heat");
  const remark = heat ? remarked(heat) : explains || item.state !== "done" || item.answer.boxes ? "" : say("no_heat");
  $("remark").hidden = !remark;
  $("remark").textContent = remark;
}

function facts({ answer, file, took }) {
  if (!answer) return "";
  const ms = x => Math.round(x ?? 0), { queue_ms, decode_ms, infer_ms } = answer.timing ?? {};
  return say("facts", { model: isolated(answer.model), seconds: ms(took), queue: ms(queue_ms), decode: ms(decode_ms), infer: ms(infer_ms), size: Math.ceil(file.size / 1024) });
}

// Show one picture whole. at, n: which of how many; all: every class, not only the likeliest; explains: whether the server has heat maps.
export function show(item, { at, n, multi, all, explains, model, again }) {
  const { answer, state } = item, kind = answer ? doubt(answer) : "";
  $("look").className = `${state} ${kind}`;
  $("place").textContent = say("place", { at: at + 1, n, name: isolated(item.name) });
  $("answer").textContent = kind ? say(`tell_${kind}`) : answer ? brief(answer, model) : say(state === "failed" ? "tell_failed" : state);
  $("sentence").replaceChildren(...sentences(item, multi, model).map(textContent => make("p", { textContent })));
  $("retry").hidden = !["failed", "stopped"].includes(state);
  bars(answer, all);
  $("set").hidden = !answer?.set || answer.set.length === 1 && answer.set[0] === answer.label;
  $("set").textContent = answer?.set ? answer.set.length ? say("set", { names: listed(answer.set) }) : say("set_empty") : "";
  near(answer?.like);
  shown(item, explains);
  found(item, model, again);
  $("facts").textContent = facts(item);
}
