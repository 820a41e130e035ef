// The answers as a table that spreadsheets read.
import { told } from "./boxes.js";
import { say } from "./strings.js";

// A cell is quoted, and cannot be taken for a formula.
function cell(value) {
  const text = String(value ?? "");
  const formula = typeof value === "string" && /^'*\s*[=+\-@＝＋－＠]/.test(text) && !/^[+-]?\d+([.,]\d+)?$/.test(text);
  return `"${(formula ? `'${text}` : text).replaceAll('"', '""')}"`;
}

// The rows of boxes: a box a row, in pixels; a picture without one has a row of its own.
function boxed(items, model, reason) {
  const head = ["name", "label", "p", "left", "top", "right", "bottom", "error"].map(name => say(`column_${name}`));
  return [head, ...items.flatMap(({ name, answer, why }) => {
    const some = answer?.boxes ? told(answer, model) : [];
    return some.length ? some.map(({ label, p, box }) => [name, label, p, ...box, ""]) : [[name, ...Array(6).fill(""), why ? reason(why) : ""]];
  })];
}

// CSV of all items: name, label, p, doubts, error, and the probability of each class; or their boxes. reason(trouble) → words.
export function table(items, model, reason) {
  const classes = model?.classes ?? [], made = rows => new Blob(["\ufeff", rows.map(row => row.map(cell).join(",")).join("\r\n"), "\r\n"], { type: "text/csv" });
  if (model?.task === "detect") return made(boxed(items, model, reason));
  const head = [...["name", "label", "p", "unsure", "ood", "error"].map(name => say(`column_${name}`)), ...classes];
  const rows = items.map(({ name, answer, why }) => [
    name, answer?.label, answer?.p, answer?.abstain, answer?.ood, why ? reason(why) : "", ...classes.map(label => answer?.probabilities[label]),
  ]);
  return made([head, ...rows]);
}
