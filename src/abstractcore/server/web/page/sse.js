/** Server-sent events: bytes in, the data of whole events out, wherever the network cut them. */

export class EventSplitter {
  #decoder = new TextDecoder();
  /** Pieces of a line whose end has not come; joined once, so that a long line costs no more than its length. */
  #line = [];
  #data = [];
  #afterReturn = false;

  /** The data of the events that these bytes complete. */
  push(bytes) {
    return this.#read(this.#decoder.decode(bytes, { stream: true }));
  }

  /** What is left when the bytes end: an event that no empty line closed. */
  end() {
    const events = this.#read(this.#decoder.decode());
    if (this.#line.length) this.#finishLine("", events);
    if (this.#data.length) this.#finishLine("", events);
    return events;
  }

  #read(text) {
    const events = [];
    if (this.#afterReturn && text) {
      this.#afterReturn = false;
      if (text[0] === "\n") text = text.slice(1);
    }
    const breaks = /\r\n|\r|\n/g;
    let start = 0;
    for (let found = breaks.exec(text); found; found = breaks.exec(text)) {
      this.#finishLine(text.slice(start, found.index), events);
      start = breaks.lastIndex;
      this.#afterReturn = found[0] === "\r" && start === text.length;
    }
    if (start < text.length) this.#line.push(text.slice(start));
    return events;
  }

  #finishLine(rest, events) {
    const line = this.#line.length ? this.#line.join("") + rest : rest;
    this.#line = [];
    if (line === "") {
      if (this.#data.length) events.push(this.#data.join("\n"));
      this.#data = [];
    } else if (line.startsWith("data:")) {
      this.#data.push(line.slice(line[5] === " " ? 6 : 5));
    }
  }
}
