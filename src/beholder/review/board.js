// The boxes over a picture: shown, chosen by a click, drawn with the mouse or by keys.
const SVG = "http://www.w3.org/2000/svg";
const LEAST = 3, STEP = 0.01;

function element(tag, properties) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value);
  return made;
}

const place = ([left, top, right, bottom]) => ({ x: left, y: top, width: Math.max(right - left, 0), height: Math.max(bottom - top, 0) });
const round = value => Math.round(value * 100) / 100;
export const nameOf = (corners, label) => `new ${corners.map(round).join(",")} ${label}`;

export class Board {
  // chosen(name): another box is meant; drawn(corners): a box was drawn and has no class yet
  constructor({ chosen, drawn }) {
    Object.assign(this, { chosen, drawn, box: "", rows: [], size: [1, 1], corners: null, from: null });
    this.svg = element("svg", { class: "boxes", preserveAspectRatio: "xMidYMid meet", role: "img" });
    this.fresh = element("rect", { class: "fresh", hidden: "" });
    this.svg.addEventListener("pointerdown", event => this.down(event));
    this.svg.addEventListener("pointermove", event => this.move(event));
    this.svg.addEventListener("pointerup", event => this.up(event));
    this.svg.addEventListener("pointercancel", () => this.cancel());
  }

  show({ width, height, boxes }, box) {
    this.rows = boxes; this.size = [width || 1, height || 1]; this.box = box;
    this.svg.setAttribute("viewBox", `0 0 ${this.size[0]} ${this.size[1]}`);
    this.paint();
  }

  paint() {
    const those = this.rows.map(row => {
      const kind = row.decided.split(":", 1)[0] || (row.new ? "missing" : "given");
      const rect = element("rect", { ...place(row.corners), class: `box ${kind}${row.name === this.box ? " meant" : ""}` });
      rect.dataset.name = row.name;
      const title = element("title", {});
      title.textContent = row.decided.startsWith("relabel:") ? row.decided.slice(8) : row.label;
      rect.append(title);
      return rect;
    });
    those.sort((a, b) => a.classList.contains("meant") - b.classList.contains("meant"));
    this.svg.replaceChildren(...those, this.fresh);
    this.svg.setAttribute("aria-label", `${this.rows.length} boxes${this.meant ? `, ${this.meant.label} chosen` : ""}`);
    this.fresh.toggleAttribute("hidden", !this.corners);
    if (this.corners) for (const [name, value] of Object.entries(place(this.corners))) this.fresh.setAttribute(name, value);
  }

  get meant() { return this.rows.find(row => row.name === this.box) || null; }

  choose(name) { this.box = name; this.paint(); this.chosen(name); }

  step(by) {
    if (!this.rows.length) return;
    const at = this.rows.findIndex(row => row.name === this.box);
    this.choose(this.rows[(at + by + this.rows.length) % this.rows.length].name);
  }

  point(event) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    return [Math.max(0, Math.min(at.x, this.size[0])), Math.max(0, Math.min(at.y, this.size[1]))];
  }

  down(event) {
    if (event.button) return;
    event.preventDefault();
    this.from = this.point(event);
    this.svg.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (!this.from) return;
    const to = this.point(event), [x, y] = this.from;
    const corners = [Math.min(x, to[0]), Math.min(y, to[1]), Math.max(x, to[0]), Math.max(y, to[1])];
    this.corners = corners[2] - corners[0] >= LEAST && corners[3] - corners[1] >= LEAST ? corners : null;
    this.paint();
  }

  up(event) {
    if (!this.from) return;
    const [x, y] = this.from, corners = this.corners;
    this.from = null;
    if (corners) { this.drawn(corners); return; }
    const under = this.rows.filter(({ corners: [l, t, r, b] }) => l <= x && x <= r && t <= y && y <= b);
    const area = ({ corners: [l, t, r, b] }) => (r - l) * (b - t);
    under.sort((a, b) => area(a) - area(b));
    const at = under.findIndex(row => row.name === this.box); // a second click means the next larger one
    if (under.length) this.choose(under[(at + 1) % under.length].name);
    event.preventDefault();
  }

  // By keys: a box in the middle, which arrows move, and with Shift make larger and smaller.
  begin() {
    const [w, h] = this.size;
    this.corners = [w * 0.4, h * 0.4, w * 0.6, h * 0.6];
    this.paint();
  }

  nudge(dx, dy, sides) {
    const [w, h] = this.size, [left, top, right, bottom] = this.corners, x = dx * w * STEP, y = dy * h * STEP;
    if (sides) this.corners = [left, top, Math.min(w, Math.max(left + LEAST, right + x)), Math.min(h, Math.max(top + LEAST, bottom + y))];
    else {
      const moved = [Math.max(-left, Math.min(x, w - right)), Math.max(-top, Math.min(y, h - bottom))];
      this.corners = [left + moved[0], top + moved[1], right + moved[0], bottom + moved[1]];
    }
    this.paint();
  }

  cancel() { this.corners = this.from = null; this.paint(); }
}
