// What the pages share: elements, names that turn nothing around them, and asking the server.
import { isolating } from "./bidi.js";

export const $ = id => document.getElementById(id);
export const number = n => n.toLocaleString("en");

// What is written on the page: names of classes turn nothing around them.
let isolate = isolating([]);
export const naming = names => { isolate = isolating(names); };
export const safe = text => isolate(text);

export function make(tag, properties = {}, ...children) {
  for (const name of ["textContent", "title", "alt"]) if (properties[name]) properties[name] = safe(properties[name]);
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// A picture by its number; what cannot be read says so.
export function picture(number_, size, alt) {
  const image = make("img", { alt, decoding: "async", draggable: false });
  image.addEventListener("load", () => image.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) <= 64));
  image.addEventListener("error", () => image.replaceWith(make("span", { className: "gone", textContent: "cannot be read" })));
  image.src = `${size}/${number_}`;
  return image;
}

export function say(text) { $("live").textContent = safe(text); }
export function trouble(error) { $("trouble").textContent = safe(error.message); $("trouble").hidden = false; }

// A function that asks the server; ended, renewed: what is said when it is gone, or another one is there.
export const asker = (ended, renewed) => async (path, body) => {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try { answer = await fetch(path, options); } catch { throw new Error(ended); }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.error ? `${found.error}${found.hint ? ` (${found.hint})` : ""}` : renewed);
  $("trouble").hidden = true;
  return found;
};
