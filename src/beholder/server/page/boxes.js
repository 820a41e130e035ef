// What a model that finds boxes says of a picture: boxes drawn over it, a list of them, and from which probability on they are told.
import { isolated } from "./bidi.js";
import { say, share } from "./strings.js";

const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg", COLOURS = 7, LETTERS = 13, CROWDED = 40;
let least = null, marked = -1;

// Take the least probability of all classes; null: that which each class has by itself.
export function from(p) { least = p; marked = -1; }
export const own = () => least === null;

// The boxes of an answer that are told, the surest first. model: as the server describes it.
export function told(answer, model) {
  const usual = Object.fromEntries((model?.classes ?? []).map((name, k) => [name, model.thresholds?.[k] ?? 0]));
  return answer.boxes.filter(box => box.p >= (least ?? usual[box.label] ?? 0));
}

// "12 × RBC, 1 × WBC", the most frequent first; "" where nothing is told.
export function counted(boxes) {
  const many = new Map();
  for (const { label } of boxes) many.set(label, (many.get(label) ?? 0) + 1);
  return [...many].sort(([, a], [, b]) => b - a).map(([label, n]) => say("times", { count: n, label: isolated(label) })).join(say("comma"));
}

const colour = (label, model) => `c${Math.max(0, model?.classes?.indexOf(label) ?? 0) % COLOURS}`;

function drawn(tag, attributes, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

// An SVG of boxes to lie over a picture, which is shown whole and in the middle of `room`, an element.
export function overlay(answer, boxes, model, room) {
  const { width, height } = answer;
  const scale = Math.min((room.clientWidth || width) / width, (room.clientHeight || height) / height) || 1;
  const size = LETTERS / scale, svg = drawn("svg", { class: "boxes", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  boxes.forEach(({ label, p, box: [left, top, right, bottom] }, k) => {
    const at = { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) };
    const one = drawn("g", { class: `${colour(label, model)}${k === marked ? " marked" : ""}` });
    one.append(drawn("rect", { ...at, class: "edge" }), drawn("rect", { ...at, class: "line" }));
    if (boxes.length <= CROWDED || k === marked) {
      const above = top > 1.4 * size, y = above ? top - 0.35 * size : Math.min(height - 0.3 * size, top + 1.2 * size);
      const words = `${isolated(label)} ${share(p)}`, x = Math.max(0, Math.min(left, width - 0.64 * size * words.length));
      one.append(drawn("text", { x: x + 0.25 * size, y, "font-size": size }, words));
    }
    svg.prepend(one);
  });
  const top = [...svg.children].find(one => one.classList.contains("marked"));
  if (top) svg.append(top);
  return svg;
}

// Show the list of boxes; marking(k): one of them is to stand out, or none, -1.
export function list(boxes, model, marking) {
  $("found").replaceChildren(...boxes.map(({ label, p }, k) => {
    const one = document.createElement("button"), name = document.createElement("span"), much = document.createElement("span");
    Object.assign(one, { type: "button", className: `${colour(label, model)}${k === marked ? " marked" : ""}` });
    one.setAttribute("aria-pressed", k === marked);
    Object.assign(name, { className: "label", textContent: isolated(label), title: isolated(label) });
    Object.assign(much, { className: "p", textContent: share(p) });
    one.append(name, much);
    one.addEventListener("click", () => { marked = marked === k ? -1 : k; marking(); $("found").children[k]?.firstChild.focus(); });
    const item = document.createElement("li");
    item.append(one);
    return item;
  }));
  const x = Math.round(100 * (least ?? 0));
  $("own").disabled = own();
  $("least-said").textContent = own() ? say("own_said") : say("percent", { x });
  if (own()) $("least").value = Math.round(100 * Math.min(1, ...(model?.thresholds ?? [0])));
  else $("least").value = x;
  $("least").setAttribute("aria-valuetext", $("least-said").textContent);
}

export function unmark() { marked = -1; }
