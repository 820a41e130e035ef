// The answers as a table that spreadsheets read.
import { say } from "./strings.js";

// A cell is quoted, and cannot be taken for a formula.
function cell(value) {
  const text = String(value ?? "");
  const formula = typeof value === "string" && /^'*\s*[=+\-@＝＋－＠]/.test(text) && !/^[+-]?\d+([.,]\d+)?$/.test(text);
  return `"${(formula ? `'${text}` : text).replaceAll('"', '""')}"`;
}

// CSV of all items: name, label, p, doubts, error, and the probability of each of `classes`. reason(trouble) → words.
export function table(items, classes, reason) {
  const head = [...["name", "label", "p", "unsure", "ood", "error"].map(name => say(`column_${name}`)), ...classes];
  const rows = items.map(({ name, answer, why }) => [
    name, answer?.label, answer?.p, answer?.abstain, answer?.ood, why ? reason(why) : "", ...classes.map(label => answer?.probabilities[label]),
  ]);
  return new Blob(["\ufeff", [head, ...rows].map(row => row.map(cell).join(",")).join("\r\n"), "\r\n"], { type: "text/csv" });
}
