// A grid of many cards of which only those in sight exist.
const GAP = 14, TEXT = 66, BLOCK = 60;

export class Grid {
  // draw(card, row): fill a card; load(ids) -> Promise of rows; chosen(place): the current one has changed
  constructor(box, floor, { draw, load, chosen, open }) {
    Object.assign(this, { box, floor, draw, load, chosen, open });
    this.cards = new Map(); this.rows = new Map(); this.asked = new Set();
    this.ids = []; this.now = 0; this.columns = 1; this.side = 160; this.timer = 0;
    box.addEventListener("scroll", () => this.paint(), { passive: true });
    new ResizeObserver(() => this.fit()).observe(box);
    floor.addEventListener("click", event => {
      const card = event.target.closest(".card");
      if (card) { this.go(Number(card.dataset.place)); this.open(event); }
    });
  }

  show(ids, now = 0) {
    this.ids = ids; this.now = Math.max(0, Math.min(now, ids.length - 1));
    for (const card of this.cards.values()) card.remove();
    this.cards.clear(); this.box.scrollTop = 0; this.fit();
    if (ids.length) this.go(this.now); else this.box.removeAttribute("aria-activedescendant");
  }

  fit() {
    const width = this.box.clientWidth, least = width < 620 ? 140 : 168;
    if (!width) return;
    this.columns = Math.max(1, Math.floor((width - GAP) / (least + GAP)));
    this.side = Math.floor((width - GAP * (this.columns + 1)) / this.columns);
    this.high = this.side + TEXT + GAP;
    this.floor.style.height = `${Math.ceil(this.ids.length / this.columns) * this.high + GAP}px`;
    for (const [place, card] of this.cards) this.put(card, place);
    this.paint();
  }

  put(card, place) {
    const column = place % this.columns, line = Math.floor(place / this.columns);
    Object.assign(card.style, { left: `${GAP + column * (this.side + GAP)}px`, top: `${GAP + line * this.high}px`, width: `${this.side}px`, height: `${this.side + TEXT}px` });
    card.firstChild.style.height = `${this.side}px`;
  }

  paint() {
    const top = this.box.scrollTop, lines = this.box.clientHeight;
    const first = Math.max(0, Math.floor((top - lines / 2) / this.high) * this.columns);
    const last = Math.min(this.ids.length, Math.ceil((top + lines * 1.5) / this.high) * this.columns);
    for (const [place, card] of this.cards) if ((place < first || place >= last) && place !== this.now) { card.remove(); this.cards.delete(place); }
    for (let place = first; place < last; place++) this.card(place);
    if (this.ids.length) this.card(this.now);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fill(first, last), this.rows.size ? 40 : 0);
  }

  card(place) {
    let card = this.cards.get(place);
    if (!card) {
      card = document.createElement("div");
      card.className = "card wait"; card.id = `f${place}`; card.dataset.place = place;
      card.setAttribute("role", "option");
      card.setAttribute("aria-posinset", place + 1); card.setAttribute("aria-setsize", this.ids.length);
      card.append(Object.assign(document.createElement("div"), { className: "shot" }), Object.assign(document.createElement("div"), { className: "cap" }));
      this.put(card, place);
      this.cards.set(place, card); this.floor.append(card);
      const row = this.rows.get(this.ids[place]);
      if (row) this.dress(card, row);
    }
    card.classList.toggle("now", place === this.now);
    card.setAttribute("aria-selected", place === this.now);
    return card;
  }

  dress(card, row) { card.classList.remove("wait"); this.draw(card, row); }

  async fill(first, last) {
    const wanted = this.ids.slice(first, last).filter(id => !this.rows.has(id) && !this.asked.has(id));
    for (let at = 0; at < wanted.length; at += BLOCK) {
      const block = wanted.slice(at, at + BLOCK);
      block.forEach(id => this.asked.add(id));
      try { this.keep(await this.load(block)); } finally { block.forEach(id => this.asked.delete(id)); }
    }
  }

  async row(place) {
    const id = this.ids[place];
    if (!this.rows.has(id)) this.keep(await this.load([id]));
    return this.rows.get(id);
  }

  keep(rows) {
    for (const row of rows) this.rows.set(row.id, row);
    const fresh = new Set(rows.map(row => row.id));
    for (const [place, card] of this.cards) if (fresh.has(this.ids[place])) this.dress(card, this.rows.get(this.ids[place]));
  }

  refresh(change) {
    for (const row of this.rows.values()) change(row);
    for (const [place, card] of this.cards) { const row = this.rows.get(this.ids[place]); if (row) this.dress(card, row); }
  }

  go(place) {
    if (!this.ids.length) return;
    const before = this.now;
    this.now = Math.max(0, Math.min(place, this.ids.length - 1));
    const line = Math.floor(this.now / this.columns), top = line * this.high, box = this.box;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + this.high + GAP > box.scrollTop + box.clientHeight) box.scrollTop = top + this.high + GAP - box.clientHeight;
    this.paint();
    if (before !== this.now && this.cards.has(before)) this.card(before);
    box.setAttribute("aria-activedescendant", `f${this.now}`);
    this.chosen(this.now);
  }

  screen() { return Math.max(1, Math.floor(this.box.clientHeight / this.high)) * this.columns; }
}
