"use strict";
const table = document.getElementById("table"), body = table.tBodies[0];
const value = (row, i) => row.cells[i].dataset.v === undefined ? row.cells[i].textContent : Number(row.cells[i].dataset.v);
table.querySelectorAll("thead th").forEach((head, i) => head.firstElementChild?.addEventListener("click", () => {
  const up = head.getAttribute("aria-sort") !== "ascending", sign = up ? 1 : -1;
  table.querySelectorAll("thead th").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const order = (a, b) => { const x = value(a, i), y = value(b, i); return sign * (typeof x === "number" ? x - y : x.localeCompare(y)); };
  body.append(...[...body.rows].sort(order));
}));

const find = document.getElementById("find");
if (find) {
  find.closest("p").hidden = false;
  find.addEventListener("input", () => {
    const asked = find.value.trim().toLowerCase();
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(asked);
  });
}

const heat = document.getElementById("heat");
if (heat) heat.addEventListener("change", () => document.getElementById("mistakes").parentElement.classList.toggle("plain", !heat.checked));

const cells = document.getElementById("cells");
if (cells) {
  const { names, cells: counts, totals, right, wrong } = JSON.parse(cells.textContent), k = names.length;
  const box = document.querySelector(".heat"), mark = box.querySelector("i"), said = document.getElementById("cell");
  const count = new Map(counts.map(([row, column, n]) => [row * k + column, n]));
  let at = [0, 0];
  const show = (row, column) => {
    at = [Math.min(k - 1, Math.max(0, row)), Math.min(k - 1, Math.max(0, column))];
    const facts = { truth: names[at[0]], guess: names[at[1]], count: count.get(at[0] * k + at[1]) ?? 0, total: totals[at[0]] };
    said.textContent = (at[0] === at[1] ? right : wrong).replace(/\{(\w+)\}/g, (_, name) => facts[name]);
    mark.style.cssText = `display:block;left:${100 * at[1] / k}%;top:${100 * at[0] / k}%;width:${100 / k}%;height:${100 / k}%`;
  };
  box.addEventListener("pointermove", event => {
    const frame = box.getBoundingClientRect();
    show(Math.floor((event.clientY - frame.top) / frame.height * k), Math.floor((event.clientX - frame.left) / frame.width * k));
  });
  const open = () => { const id = `cell-${at[0]}-${at[1]}`; if (document.getElementById(id)) location.hash = id; };
  box.addEventListener("click", open);
  box.addEventListener("keydown", event => {
    if (event.key === "Enter") open();
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) { event.preventDefault(); show(at[0] + step[0], at[1] + step[1]); }
  });
}

const cue = document.body.dataset.cue;
for (const box of document.querySelectorAll(".scroll, nav ul")) {
  let said = null;
  const look = () => {
    const hidden = box.scrollWidth - box.clientWidth;
    box.classList.toggle("more-left", box.scrollLeft > 4);
    box.classList.toggle("more-right", box.scrollLeft < hidden - 4);
    if (hidden > 4 && !said && box.matches(".scroll")) box.before(said = Object.assign(document.createElement("p"), { className: "cue", textContent: cue }));
    if (said) said.hidden = hidden <= 4;
  };
  box.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(box);
}

const links = new Map([...document.querySelectorAll("nav a")].map(link => [link.hash.slice(1), link]));
let current = null;
const mark = () => {
  let last = null;
  for (const id of links.keys()) if (document.getElementById(id).getBoundingClientRect().top < innerHeight / 3) last = id;
  if (last === current) return;
  if (current) links.get(current).removeAttribute("aria-current");
  current = last;
  if (!current) return;
  const link = links.get(current), list = link.closest("ul");
  link.setAttribute("aria-current", "true");
  list.scrollLeft = link.offsetLeft - list.offsetLeft - (list.clientWidth - link.offsetWidth) / 2;
};
let due = 0;
addEventListener("scroll", () => { cancelAnimationFrame(due); due = requestAnimationFrame(mark); }, { passive: true });
mark();
