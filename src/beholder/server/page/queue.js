// The pictures that were given, each asked about once, some at a time; what went wrong is kept with the picture or holds them all.
import { Trouble, alive, predict } from "./server.js";

const AT_ONCE = 3;
const LONGEST = 15;

export class Queue {
  // changed(item): an item is different now, or, without one, how many there are; held(trouble | null): nothing is asked for now, and why
  constructor(changed, held) {
    Object.assign(this, { items: [], model: null, changed, held, wait: 1 });
    this.closed = true;
    this.timer = null;
  }

  add(files) {
    const made = files.map(file => ({ file, name: file.name, url: URL.createObjectURL(file), state: "waiting", answer: null, why: null, heat: null, breaks: 0 }));
    this.items.push(...made);
    this.#pump();
    return made;
  }

  remove(item) {
    item.stop?.abort();
    URL.revokeObjectURL(item.url);
    if (item.heat?.url) URL.revokeObjectURL(item.heat.url);
    this.items = this.items.filter(other => other !== item);
    this.changed();
  }

  // Ask again about these, whatever was said of them.
  repeat(items) {
    for (const item of items) {
      Object.assign(item, { answer: null, why: null, breaks: 0 });
      this.#forget(item);
      if (item.state === "asking") { item.again = true; item.stop.abort(); } else item.state = "waiting";
      this.changed(item);
    }
    this.open();
  }

  stop() {
    for (const item of this.items) {
      if (item.state === "asking") item.stop.abort();
      if (item.state === "waiting") { item.state = "stopped"; this.changed(item); }
    }
  }

  open() {
    clearTimeout(this.timer);
    this.closed = false;
    this.held(null);
    this.#pump();
  }

  // Ask nothing for now; without seconds, until somebody opens it again.
  close(trouble, seconds = 0, then = () => this.open()) {
    this.closed = true;
    clearTimeout(this.timer);
    if (seconds) this.timer = setTimeout(then, 1000 * seconds);
    this.held(trouble, seconds);
  }

  // Wait longer each time that the server is not there.
  lost(trouble, then = () => this.#look(trouble)) {
    this.close(trouble, this.wait, then);
    this.wait = Math.min(LONGEST, 2 * this.wait);
  }

  found() { this.wait = 1; }

  get open_() { return this.items.filter(item => item.state === "waiting" || item.state === "asking").length; }

  async #look(trouble) { if (await alive()) this.open(); else this.lost(trouble); }

  #forget(item) {
    if (item.heat?.url) URL.revokeObjectURL(item.heat.url);
    item.heat = null;
  }

  #pump() {
    let asking = this.items.filter(item => item.state === "asking").length;
    for (const item of this.items) {
      if (this.closed || asking >= AT_ONCE) break;
      if (item.state === "waiting") { asking += 1; this.#ask(item); }
    }
    this.changed();
  }

  async #ask(item) {
    Object.assign(item, { state: "asking", since: performance.now(), stop: new AbortController(), again: false });
    this.changed(item);
    try {
      const answer = await predict(item.file, this.model, item.stop.signal);
      Object.assign(item, item.again ? { state: "waiting" } : { state: "done", answer, took: performance.now() - item.since });
      this.found();
    } catch (error) {
      await this.#failed(item, error instanceof Trouble ? error : new Trouble("odd", String(error)));
    }
    if (this.items.includes(item)) this.changed(item);
    this.#pump();
  }

  async #failed(item, trouble) {
    item.state = "waiting";
    if (trouble.code === "stopped") item.state = item.again ? "waiting" : "stopped";
    else if (trouble.code === "busy") this.close(trouble, Math.min(60, trouble.after));
    else if (trouble.code === "key") this.close(trouble);
    else if (trouble.code === "gone") {
      if (!await alive()) this.closed || this.lost(trouble);
      else if (++item.breaks > 1) Object.assign(item, { state: "failed", why: new Trouble("broke") });
    } else Object.assign(item, { state: "failed", why: trouble });
  }
}
