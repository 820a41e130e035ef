// A grid of pictures of which some are marked: by click, by drawing over them, by Shift, or by keys.
import { make, picture, safe } from "./dom.js";

const GAP = 6;

export class Picks {
  // changed(): marks have changed; opened(row): a picture is to be shown large
  constructor(box, { changed, opened }) {
    Object.assign(this, { box, changed, opened });
    this.rows = []; this.on = []; this.now = 0; this.from = 0; this.paint = null;
    box.addEventListener("pointerdown", event => {
      const at = this.place(event);
      if (at < 0 || event.button || event.pointerType === "touch") return;
      event.preventDefault();
      box.focus({ preventScroll: true });
      if (event.shiftKey) this.range(at); else { this.toggle(at); this.paint = this.on[at]; }
    });
    box.addEventListener("pointerover", event => {
      const at = this.place(event);
      if (this.paint === null || at < 0 || at === this.now) return;
      if (!(event.buttons & 1)) { this.paint = null; return; }
      this.set(at, this.paint); this.go(at); this.changed();
    });
    document.addEventListener("pointerup", () => { this.paint = null; });
    box.addEventListener("click", event => { const at = this.place(event); if (at >= 0 && !["mouse", "pen"].includes(event.pointerType)) this.toggle(at); });
    box.addEventListener("dblclick", event => { const at = this.place(event); if (at >= 0) this.opened(this.rows[at]); });
  }

  place(event) { const card = event.target.closest(".card"); return card ? [...this.box.children].indexOf(card) : -1; }

  // How many pictures there is room for without scrolling, up to `wanted`, and in how many columns: as large as they can be.
  room(wanted = 1000) {
    if (!this.box.clientWidth) return this.last || { columns: 3, side: 100, count: 24 }; // it is hidden
    const style = getComputedStyle(this.box);
    const width = this.box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const high = this.box.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
    const most = Math.min(wanted, width < 620 ? 24 : 60), least = width < 620 ? 72 : 92;
    for (let columns = Math.max(3, Math.floor(width / 190)); ; columns++) {
      const side = (width - GAP * (columns - 1)) / columns, next = (width - GAP * columns) / (columns + 1);
      const count = columns * Math.max(1, Math.floor((high + GAP + 1) / (side + GAP)));
      if (count >= most || next < least) return this.last = { columns, side: Math.floor(side), count: Math.min(most, count) };
    }
  }

  fit() {
    const { columns, side } = this.room(this.fitted || 1000);
    this.columns = columns;
    Object.assign(this.box.style, { gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))`, gridAutoRows: `${side}px` });
  }

  show(rows) {
    const before = new Set(this.rows.map(row => row.picture));
    if (!rows.every(row => before.has(row.picture))) this.fitted = rows.length; // the rest of a grid stays as large as it was
    this.rows = rows; this.on = rows.map(() => false); this.now = this.from = 0;
    this.box.scrollTop = 0;
    this.box.replaceChildren(...rows.map((row, at) => this.card(row, at)));
    rows.forEach((_, at) => this.set(at, this.on[at]));
    this.fit();
    this.go(0);
  }

  card(row, at) {
    const sure = row.p === null ? "" : `, probability ${row.p.toFixed(2)}`;
    const card = make("div", { className: "card", id: `p${at}`, title: row.key }, picture(row.picture, "small", ""), make("span", { className: "mark" }));
    card.dataset.picture = row.picture;
    card.setAttribute("role", "option");
    card.setAttribute("aria-label", safe(`${row.key}${sure}`));
    return card;
  }

  set(at, on) { this.on[at] = on; this.box.children[at].setAttribute("aria-selected", on); }

  toggle(at) { this.set(at, !this.on[at]); this.from = at; this.go(at); this.changed(); }

  range(at) {
    const on = this.on[this.from];
    for (let i = Math.min(at, this.from); i <= Math.max(at, this.from); i++) this.set(i, on);
    this.go(at); this.changed();
  }

  every(on) { this.rows.forEach((_, at) => this.set(at, on)); this.changed(); }

  go(at) {
    if (!this.rows.length) { this.box.removeAttribute("aria-activedescendant"); return; }
    this.box.children[this.now]?.classList.remove("now");
    this.now = Math.max(0, Math.min(at, this.rows.length - 1));
    const card = this.box.children[this.now];
    card.classList.add("now");
    card.scrollIntoView({ block: "nearest" });
    this.box.setAttribute("aria-activedescendant", card.id);
  }

  // The pictures that are marked, or those that are not.
  those(on) { return this.rows.filter((_, at) => this.on[at] === on).map(row => row.picture); }
}
